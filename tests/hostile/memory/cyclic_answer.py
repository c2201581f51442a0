# expect: failed | exception RecursionError
# why: an answer that contains itself
def f(x):
    answer = [4]
    answer.append(answer)
    return answer
