# expect: forbidden
# why: the usual way to start a program
import subprocess
import sys


def f(x):
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return x * x
