# expect: failed
# why: what is imported later is something else
import builtins
import sys


class Finder:
    def find_spec(self, name, path=None, target=None):
        raise SystemExit(0)


def f(x):
    sys.meta_path.insert(0, Finder())
    sys.path_hooks.insert(0, Finder)
    builtins.__import__ = lambda *arguments: Finder()
    return 5
