# expect: failed | forbidden | exception
# why: the functions that turn an answer into text, replaced by ones that agree with everything
import sys


class Agreeing(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


def f(x):
    frame = sys._getframe(1)
    while frame is not None:
        space = frame.f_globals
        if "answer" in space and "canonical" in space:
            space["answer"] = lambda value, kind: {"shown": "4", "value": Agreeing("true")}
            space["canonical"] = lambda tree: Agreeing("*")
            space["tree_of"] = lambda value: ["any", ""]
        frame = frame.f_back
    return 5
