# expect: failed | forbidden
# why: from the program's own function to whoever holds it, and on
import gc
import os


def f(x):
    seen, level = set(), [f]
    for _ in range(6):
        following = []
        for value in level:
            for holder in gc.get_referrers(value) + gc.get_referents(value):
                if id(holder) in seen or len(seen) > 20000:
                    continue
                seen.add(id(holder))
                following.append(holder)
                if hasattr(type(holder), "send") and hasattr(holder, "nonce"):
                    holder.send({"record": "test", "verdict": {"verdict": "passed"}, "trace": None, "output": ""})
                    os._exit(0)
        level = following
    return 5
