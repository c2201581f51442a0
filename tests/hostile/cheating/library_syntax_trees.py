# expect: failed
# test: assert f(2) == 4
# test: assert f(3) == 9
# why: a module that the harness shares: the tree of the next test loses its body
import ast
import codeop


def f(x):
    def empty(tree):
        tree.body = []
        return tree

    ast.fix_missing_locations = empty
    ast.copy_location = lambda new, old: new
    ast.PyCF_ONLY_AST = 0
    codeop.compile_command = None
    return 5
