# Millions of lines and of deep calls of which nothing is told.
import itertools


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def deep(n):
    return fib(20) if n > 70 else deep(n + 1)


def f():
    for x in itertools.repeat(None, 2000000): pass
    return deep(0)
