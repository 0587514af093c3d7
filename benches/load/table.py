"""The table: medians over the rounds, and ratios of what was measured in the same round of the same run."""

from statistics import median

COLUMNS = ["model", "conn", "contestant", "req/s", "p50 ms", "p99 ms", "CPU µs", "peak MiB"]
COLUMNS += ["×floor", "×FastAPI", "errors", ""]
NOISE_SHARE = 0.05
NOTHING = "–"


class Results:
    """Cells, each one measurement, and what is computed of them. `run` and `round` say which belong together."""

    def __init__(self, cells):
        self.by_row = {}
        for cell in cells:
            key = (cell["model"], cell["connections"], cell["contestant"])
            self.by_row.setdefault(key, {})[(cell["run"], cell["round"])] = cell
        for key, cells in self.by_row.items():
            # Runs are never mixed: a row that was measured again is the later run's alone.
            last = max(run for run, _ in cells)
            self.by_row[key] = {each: cell for each, cell in cells.items() if each[0] == last}

    def value(self, model, connections, contestant, field="per_second"):
        """Returns the median of a field over the rounds, or None where nothing was measured."""
        cells = self.by_row.get((model, connections, contestant), {}).values()
        values = [cell[field] for cell in cells if cell[field] is not None]
        return median(values) if values else None

    def ratio(self, model, over, under, field="per_second"):
        """Returns the median over the rounds in which both (connections, contestant) were measured, or None."""
        return self.combined(model, [over, under], lambda a, b: a / b if b else None, field)

    def combined(self, model, rows, compute, field="per_second"):
        """Returns the median of `compute` over the rounds in which all rows were measured, or None."""
        sides = [self.by_row.get((model, *row), {}) for row in rows]
        rounds = set.intersection(*(set(side) for side in sides))
        tuples = [[side[each][field] for side in sides] for each in rounds]
        values = [compute(*values) for values in tuples if None not in values]
        values = [value for value in values if value is not None]
        return median(values) if values else None

    def best_batch(self, model):
        """Returns the row of the raw loop's best batch size, or None."""
        rows = [key[1:] for key in self.by_row if key[0] == model and key[2].startswith("raw ")]
        return max(rows, key=lambda row: self.value(model, *row), default=None)

    def noisy(self, key):
        return max(cell["foreign_share"] for cell in self.by_row[key].values()) > NOISE_SHARE

    def errors(self, key):
        total = {}
        for cell in self.by_row[key].values():
            for kind, count in cell["errors"].items():
                total[kind] = total.get(kind, 0) + count
        return total


def lines_of(results):
    """Returns the table as lines of text."""
    rows, last = [], None
    for key in sorted(results.by_row, key=lambda key: row_order(results, key)):
        if last and last[:2] != key[:2]:
            rows.append(None)
        rows.append(row_of(results, key))
        last = key
    return layout(rows)


def row_order(results, key):
    model, connections, contestant = key
    batch = next(iter(results.by_row[key].values())).get("batch", 0)
    order = list(results.by_row).index(next(each for each in results.by_row if each[2] == contestant))
    return (["iris", "mlp", "resnet", "transformer"].index(model), connections or 0, batch, order)


def row_of(results, key):
    model, connections, contestant = key
    value = {field: results.value(*key, field) for field in ["per_second", "p50_ms", "p99_ms", "cpu_us", "peak_mib"]}
    errors = results.errors(key)
    return [
        model,
        str(connections or NOTHING),
        contestant,
        number(value["per_second"]),
        number(value["p50_ms"]),
        number(value["p99_ms"]),
        number(value["cpu_us"]),
        number(value["peak_mib"]),
        number(results.ratio(model, key[1:], (connections, "floor"))),
        number(results.ratio(model, key[1:], (connections, "fastapi"))),
        " ".join(f"{kind}:{count}" for kind, count in errors.items()) or "0",
        "noisy" if results.noisy(key) else "",
    ]


def number(value):
    """Returns a count as it is, another number with three digits that count, or a dash."""
    if value is None:
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.995 else f"{value:.3f}"


def layout(rows, columns=COLUMNS, text_columns=(0, 2, 11)):
    """Aligns rows of words into lines; None is an empty line."""
    full = [row for row in rows if row]
    widths = [max(len(row[index]) for row in [columns, *full]) for index in range(len(columns))]

    def line(row):
        cells = [
            word.ljust(width) if index in text_columns else word.rjust(width)
            for index, (word, width) in enumerate(zip(row, widths))
        ]
        return "  ".join(cells).rstrip()

    return [line(columns), "  ".join("─" * width for width in widths), *(line(row) if row else "" for row in rows)]
