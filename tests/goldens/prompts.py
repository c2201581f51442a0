"""The 20 prompts of the logit goldens: 10 to 60 tokens each, of the kinds that a code model meets."""

PROMPTS = [
    # Functions to complete, after a signature or a docstring.
    'def fibonacci(n: int) -> int:\n    """Return the n-th Fibonacci number, counting from zero."""\n',
    "from typing import List\n\n\ndef has_close_elements(numbers: List[float], threshold: float) -> bool:\n"
    '    """Check whether two numbers are closer to each other than the threshold."""\n    for',
    "def is_palindrome(text):\n    text = text.lower()\n    return",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n"
    "        self.items.append(item)\n\n    def pop(self):\n",
    "import re\n\nEMAIL = re.compile(r\"[\\w.+-]+@[\\w-]+\\.[\\w.]+\")\n\ndef find_emails(text):\n    return",
    # In the middle of something.
    "    while low <= high:\n        mid = (low + high) // 2\n        if values[mid] == target:\n"
    "            return mid\n        elif values[mid] <",
    "squares = [x * x for x in range(10) if x % 2 ==",
    "matrix = [\n    [1, 2, 3],\n    [4, 5, 6],\n",
    "try:\n    value = int(input())\nexcept ValueError as error:\n    print(f\"not a number: {error}\")\n",
    'assert remove_duplicates([1, 2, 2, 3, 3, 3]) == [1, 2, 3]\nassert remove_duplicates(["a", "a"]) ==',
    "# Sort a list of (name, age) pairs by age, oldest first, then by name.\npeople.sort(key=",
    # Other languages, data and prose.
    "fn main() {\n    let words: Vec<&str> = \"a b c\".split(' ').collect();\n    for word in &words {\n",
    "SELECT customers.name, COUNT(orders.id) AS orders\nFROM customers\nJOIN orders ON",
    '{"name": "vigor", "version": "0.1.0", "dependencies": {"',
    "Binary search halves the interval at every step, so its running time is",
    "Grüße aus Köln: naïve café, 你好，世界, Привет мир, 3.14159 €, and emoji 🎉🚀 are all just",
    # Chats, with the special tokens that open and close their turns.
    "<|im_start|>system\nYou write Python.<|im_end|>\n<|im_start|>user\nWrite a function that reverses the words of a "
    "sentence.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWhat does `zip(*rows)` do?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nFix this:\n```python\nfor i in range(10)\n    print i\n```<|im_end|>\n<|im_start|>assistant\n"
    "```python\n",
    "<|im_start|>system\nAnswer with one line of code.<|im_end|>\n<|im_start|>user\nSum of the digits of n."
    "<|im_end|>\n<|im_start|>assistant\n",
]
