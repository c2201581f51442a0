# Every method that a careless tracer could call hangs, on objects, on subclasses of built-in types, on their classes.
def hang(*args, **named):
    while True:
        pass


NAMES = """__repr__ __str__ __eq__ __ne__ __hash__ __len__ __iter__ __next__ __bool__ __lt__ __format__ __getitem__
__contains__ __index__ __int__ __sizeof__ __dir__ __instancecheck__ __subclasscheck__ __reduce__""".split()


class Meta(type):
    pass


for name in NAMES + ["__getattribute__"]:
    setattr(Meta, name, hang)


def make(base):
    return type.__new__(Meta, "Evil", (base,), dict.fromkeys(NAMES, hang))


def f():
    a = object.__new__(make(object))
    b = str.__new__(make(str), "x")
    c = int.__new__(make(int), 3)
    d = list.__new__(make(list))
    e = dict.__new__(make(dict))
    g = tuple.__new__(make(tuple), (1,))
    h = float.__new__(make(float), 1.0)
    i = set.__new__(make(set))
    j = [a, b, c, d, e, g, h, i]
    k = {1: a, 2: b, 3: (a, [b, {4: c}])}
    del a
    return k
