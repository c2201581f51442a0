# expect: output
# seconds: 5
# varies: how often the threads took turns
# why: a flood from another thread
import threading


def f(x):
    def flood():
        while True:
            print("x" * 1000000)

    thread = threading.Thread(target=flood)
    thread.start()
    thread.join()
