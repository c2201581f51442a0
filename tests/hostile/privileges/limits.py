# expect: passed
# test: assert f() == []
# why: limits can be read, and neither raised nor lowered
import resource


def f():
    names = ["RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE", "RLIMIT_STACK"]
    changed = []
    for name in names:
        limit = getattr(resource, name)
        soft, hard = resource.getrlimit(limit)
        for wanted in ((-1, -1), (hard, hard), (0, 0), (soft, hard)):
            try:
                resource.setrlimit(limit, wanted)
                changed.append((name, wanted))
            except (OSError, ValueError):
                pass
    return changed
