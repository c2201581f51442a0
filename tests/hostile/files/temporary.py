# expect: passed
# test: assert f() == []
# varies: names of temporary files
# why: temporary files, wherever the library finds a place
import tempfile


def f():
    return not_refused(
        {
            "file": lambda: tempfile.TemporaryFile(),
            "named": lambda: tempfile.NamedTemporaryFile(prefix="vigor-hostile"),
            "folder": lambda: tempfile.mkdtemp(prefix="vigor-hostile"),
            "here": lambda: tempfile.mkstemp(dir="."),
        }
    )
