# expect: failed
# why: names under which a harness could keep both sides, set while the call runs and after
import threading


def f(x):
    space = globals()

    def change():
        while True:
            for name in [name for name in space if "right" in name or "expected" in name]:
                space[name] = 5

    threading.Thread(target=change, daemon=True).start()
    return 5
