"""A small stock-keeping module: ordinary code for the benchmark's prompts to be cut from."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Item:
    """One line of the stock list."""

    name: str
    price: float
    count: int = 0
    tags: list = field(default_factory=list)

    def value(self):
        return self.price * self.count

    def has_tag(self, tag):
        return tag.lower() in (t.lower() for t in self.tags)


class Stock:
    """Items by name, with a journal of every change."""

    def __init__(self, items=()):
        self.items = {item.name: item for item in items}
        self.journal = []

    def add(self, name, count, price=None):
        if count <= 0:
            raise ValueError(f"cannot add {count} of {name}")
        item = self.items.get(name)
        if item is None:
            if price is None:
                raise KeyError(f"{name} is new and needs a price")
            item = self.items[name] = Item(name, price)
        elif price is not None and price != item.price:
            self.journal.append(("price", name, item.price, price))
            item.price = price
        item.count += count
        self.journal.append(("add", name, count))
        return item.count

    def take(self, name, count):
        item = self.items.get(name)
        if item is None or item.count < count:
            have = 0 if item is None else item.count
            raise LookupError(f"{count} of {name} wanted, {have} here")
        item.count -= count
        self.journal.append(("take", name, count))
        if item.count == 0:
            del self.items[name]
        return item.price * count

    def total(self):
        return sum(item.value() for item in self.items.values())

    def by_tag(self):
        groups = defaultdict(list)
        for item in self.items.values():
            for tag in item.tags or ["untagged"]:
                groups[tag].append(item.name)
        return {tag: sorted(names) for tag, names in groups.items()}

    def cheapest(self, n=3):
        ranked = sorted(self.items.values(), key=lambda item: (item.price, item.name))
        return [item.name for item in ranked[:n]]


def parse_line(line):
    """Reads `name; price; count; tag, tag` and says what is wrong with a line that is something else."""
    parts = [part.strip() for part in line.split(";")]
    if len(parts) not in (3, 4):
        raise ValueError(f"3 or 4 fields expected, found {len(parts)}: {line!r}")
    name, price, count = parts[:3]
    tags = [tag.strip() for tag in parts[3].split(",")] if len(parts) == 4 else []
    return Item(name, float(price), int(count), tags)


def read_stock(text):
    stock = Stock()
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        try:
            item = parse_line(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if item.name in stock.items:
            raise ValueError(f"line {number}: {item.name} is there twice")
        stock.items[item.name] = item
    return stock


def moving_average(values, width):
    if width < 1:
        raise ValueError("the width must be at least 1")
    window, total, averages = [], 0.0, []
    for value in values:
        window.append(value)
        total += value
        if len(window) > width:
            total -= window.pop(0)
        averages.append(total / len(window))
    return averages


def merge(left, right):
    """Merges two sorted lists; equal entries keep the order left, right."""
    merged, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if right[j] < left[i]:
            merged.append(right[j])
            j += 1
        else:
            merged.append(left[i])
            i += 1
    return merged + left[i:] + right[j:]


def shortest_path(graph, start, goal):
    """Breadth-first search in a dict of neighbour lists. Returns the nodes on the way, or None."""
    before, queue = {start: None}, [start]
    for node in queue:
        if node == goal:
            path = []
            while node is not None:
                path.append(node)
                node = before[node]
            return path[::-1]
        for neighbour in graph.get(node, ()):
            if neighbour not in before:
                before[neighbour] = node
                queue.append(neighbour)
    return None


def wrap(text, width):
    lines, line = [], ""
    for word in text.split():
        candidate = f"{line} {word}".strip()
        if len(candidate) > width and line:
            lines.append(line)
            line = word
        else:
            line = candidate
    if line:
        lines.append(line)
    return "\n".join(lines)


def roman(number):
    if not 0 < number < 4000:
        raise ValueError(f"{number} has no Roman numeral")
    numeral = ""
    for value, letters in [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
                           (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]:
        while number >= value:
            numeral += letters
            number -= value
    return numeral


def count_words(text):
    counts = defaultdict(int)
    for word in text.lower().split():
        word = word.strip(".,;:!?\"'()")
        if word:
            counts[word] += 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
