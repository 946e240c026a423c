#!/usr/bin/env python3
"""Compares ducto.expr_value with an evaluator over Python's own parser.

usage: differential.py [CASES [SEED]]

Half of the cases are random expressions, the other half random sequences of
tokens, many of which are no expressions.  Python's parser tells what a text
means, exact decimals give its value; both sides must agree on the value or on
the SQLSTATE.  The server is the one that psql finds (PGHOST, PGDATABASE, ...).
"""
import ast
import decimal
import json
import random
import re
import subprocess
import sys
import warnings
from decimal import Decimal
from fractions import Fraction

VARIABLES = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "tool_calls",
             "search_queries", "search_results", "web_search_calls", "code_exec_calls"]
ARITY = {"ceil": (1, 1), "floor": (1, 1), "round": (1, 2), "min": (1, 999), "max": (1, 999), "if_": (3, 3),
         "tier": (4, 999), "clamp": (3, 3), "percentile": (2, 999)}
NUMBERS = ["0", "1", "2", "3", "7", "10", "100", "1000", "0.5", ".5", "2.5", "0.01", "0.003", "1e-3", "1E+2",
           "1e40", "1e-40", "9.99e39", "12345.6789", "0.0000001", "3.", "1.50"]
BINARY = ["+", "-", "*", "/", "//", "%"]
COMPARISONS = ["<", "<=", ">", ">=", "==", "!="]
TOKENS = (["1", "2.5", "0", "input_tokens", "tool_calls", "(", ")", "(", ")", "if", "else", "and", "or",
           "not", "max", "round", "if(", ",", ","] + BINARY + COMPARISONS
          + ["**", "in", "is", "lambda", "for", "[", "]", ".", "=", ":", "'a'", "price", "True", "~", "|"])

LIMIT = Decimal("1e40")
LEAST = Decimal("1e-40")
INVALID, RANGE, ZERO = "22023", "22003", "22012"

decimal.setcontext(decimal.Context(prec=40000, Emax=99999, Emin=-99999,
                                   traps=[decimal.Inexact, decimal.InvalidOperation]))


class Failure(Exception):
    """An error that ducto should raise, by its SQLSTATE."""


def scale(value):
    return max(0, -value.as_tuple().exponent)


def plain(value):
    """The value without a positive exponent, which numeric does not have."""
    return value if value.as_tuple().exponent <= 0 else value.quantize(Decimal(1))


def trim(value):
    return plain(value.normalize())


def floor(value):
    return Decimal(value.__floor__())


def check(value):
    if abs(value) > LIMIT or scale(value) > 5000 or 0 < abs(value) < LEAST:
        raise Failure(RANGE)
    return plain(value)


def natural_scale(left, right):
    """The decimal places of a quotient of PostgreSQL's numeric: at least 16 significant digits."""
    weights = [value.adjusted() // 4 for value in (left, right)]
    digits = [abs(Fraction(value)) // Fraction(10000) ** weight
              for value, weight in zip((left, right), weights)]
    weight = weights[0] - weights[1] - (digits[0] <= digits[1])
    return min(1000, max(16 - 4 * weight, scale(left), scale(right), 0))


def divide(left, right):
    """The quotient, rounded half away from zero when it has no end, with 8 digits more than numeric's."""
    if not left:
        return Decimal(0)
    quotient = Fraction(left) / Fraction(right)
    places = natural_scale(left, right)
    rounded = half_away(quotient, places)
    if rounded != quotient and places + 8 <= 1000:
        rounded = half_away(quotient, places + 8)
    return trim(rounded)


def calculate(op, left, right):
    if isinstance(op, ast.Add):
        return left + right
    if isinstance(op, ast.Sub):
        return left - right
    if isinstance(op, ast.Mult):
        return left * right
    if not right:
        raise Failure(ZERO)
    if isinstance(op, ast.Div):
        return divide(left, right)
    quotient = Decimal((Fraction(left) / Fraction(right)).__floor__())
    return quotient if isinstance(op, ast.FloorDiv) else left - quotient * right


def compare(op, left, right):
    return {ast.Lt: left < right, ast.LtE: left <= right, ast.Gt: left > right, ast.GtE: left >= right,
            ast.Eq: left == right, ast.NotEq: left != right}[type(op)]


def half_away(value, places):
    shifted = Fraction(value) * Fraction(10) ** places
    digits = (abs(shifted) + Fraction(1, 2)).__floor__()
    rounded = plain(Decimal(digits).scaleb(-places))
    return rounded if value >= 0 else -rounded


def percentile(percentage, values):
    if not 0 <= percentage <= 100:
        raise Failure(INVALID)
    values = sorted(values)
    rank = percentage * Decimal("0.01") * (len(values) - 1)
    below = floor(rank)
    if rank == below:
        return values[int(below)]
    low, high = values[int(below)], values[int(below) + 1]
    return low + (high - low) * (rank - below)


def call(name, values):
    first = values[0]
    if name == "ceil":
        return Decimal(first.__ceil__())
    if name == "floor":
        return floor(first)
    if name == "round":
        digits = values[1] if len(values) == 2 else Decimal(0)
        if digits != floor(digits) or abs(digits) > 10:
            raise Failure(INVALID)
        return half_away(first, int(digits))
    if name in ("min", "max"):
        return (min if name == "min" else max)(values)
    if name == "clamp":
        return max(values[1], min(first, values[2]))
    if name == "percentile":
        return percentile(first, values[1:])
    for threshold, rate in zip(values[1:-1:2], values[2:-1:2]):
        if first < threshold:
            return rate
    return values[-1]


class Evaluator:
    """Checks a text and evaluates it."""

    def __init__(self, text, variables):
        self.text = text
        self.variables = variables
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(text, mode="eval").body
        except SyntaxError:
            raise Failure(INVALID) from None
        if re.search(r",\s*\)", text):
            raise Failure(INVALID)
        self.check(self.tree)

    def literal(self, node):
        return trim(Decimal(ast.get_source_segment(self.text, node)))

    def written(self, node):
        """The value of a number that is written, signs included, else None."""
        if isinstance(node, ast.Constant):
            return self.literal(node)
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
            value = self.written(node.operand)
            return value if value is None or isinstance(node.op, ast.UAdd) else -value
        return None

    def check(self, node):
        if isinstance(node, ast.Constant):
            if type(node.value) not in (int, float):
                raise Failure(INVALID)
            check(self.literal(node))
        elif isinstance(node, ast.Name):
            if node.id not in VARIABLES:
                raise Failure(INVALID)
        elif isinstance(node, ast.Call):
            self.check_call(node)
        elif isinstance(node, (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare)):
            ops = node.ops if isinstance(node, ast.Compare) else [node.op]
            if any(isinstance(op, (ast.Pow, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.BitOr, ast.Invert))
                   for op in ops):
                raise Failure(INVALID)
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.check(child)
        elif isinstance(node, ast.IfExp):
            for child in (node.body, node.test, node.orelse):
                self.check(child)
        else:
            raise Failure(INVALID)

    def check_call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in ARITY or node.keywords:
            raise Failure(INVALID)
        least, most = ARITY[name]
        if not least <= len(node.args) <= most or (name == "tier" and len(node.args) % 2):
            raise Failure(INVALID)
        for child in node.args:
            self.check(child)
        if name == "round" and len(node.args) == 2 and self.written(node.args[1]) is not None:
            call("round", [Decimal(0), self.written(node.args[1])])
        if name == "percentile" and self.written(node.args[0]) is not None:
            percentile(self.written(node.args[0]), [Decimal(0)])

    def value(self, node):
        if isinstance(node, ast.Constant):
            return self.literal(node)
        if isinstance(node, ast.Name):
            return check(Decimal(self.variables.get(node.id, "0")))
        if isinstance(node, ast.UnaryOp):
            operand = self.value(node.operand)
            if isinstance(node.op, ast.Not):
                return Decimal(0 if operand else 1)
            return -operand if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.BinOp):
            left = self.value(node.left)
            return check(calculate(node.op, left, self.value(node.right)))
        if isinstance(node, ast.BoolOp):
            for child in node.values:
                result = self.value(child)
                if bool(result) == isinstance(node.op, ast.Or):
                    break
            return result
        if isinstance(node, ast.Compare):
            left = self.value(node.left)
            for op, child in zip(node.ops, node.comparators):
                right = self.value(child)
                if not compare(op, left, right):
                    return Decimal(0)
                left = right
            return Decimal(1)
        if isinstance(node, ast.IfExp) or node.func.id == "if_":
            parts = node.args if isinstance(node, ast.Call) else (node.test, node.body, node.orelse)
            test, body, other = parts
            return self.value(body if self.value(test) else other)
        return check(call(node.func.id, [self.value(child) for child in node.args]))


def expected(text, variables):
    try:
        evaluator = Evaluator(re.sub(r"\s", " ", text).strip(), variables)
        return trim(evaluator.value(evaluator.tree))
    except Failure as failure:
        return str(failure)


def space():
    return random.choice(["", "", " ", "\n", "\t "])


def expression(size, tight=False):
    """A random expression; a tight one stands where only the tightest operators may."""
    if size <= 1:
        return random.choice(NUMBERS + VARIABLES)
    kind = random.random()
    if tight or kind < 0.1:
        return random.choice(["(" + expression(size - 1) + ")", call_text(size), random.choice("+-") + space()
                              + expression(size - 1, True)])
    if kind < 0.55:
        return sides(size, random.choice(BINARY))
    if kind < 0.7:
        return sides(size, random.choice(COMPARISONS))
    if kind < 0.82:
        return sides(size, random.choice([" and ", " or "]))
    if kind < 0.88:
        return "not " + expression(size - 1)
    third = max(1, size // 3)
    return " ".join([expression(third), "if", expression(third), "else", expression(third)])


def sides(size, operator):
    cut = random.randint(1, size - 1)
    tight = random.random() < 0.3
    return expression(cut, tight) + space() + operator + space() + expression(size - cut, tight)


def call_text(size):
    name = random.choice(list(ARITY))
    least, most = ARITY[name]
    count = random.randint(least, min(most, least + 3))
    if name == "tier":
        count += count % 2
    arguments = [expression(max(1, size // count)) for _ in range(count)]
    if name == "round" and count == 2 and random.random() < 0.9:
        arguments[1] = str(random.randint(-11, 11))
    if name == "percentile" and random.random() < 0.9:
        arguments[0] = random.choice(["0", "1", "25", "50", "99.9", "100", "100.1"])
    return name + "(" + (space() + "," + space()).join(arguments) + ")"


def tokens():
    """Random tokens, or an expression with a few of its tokens changed.

    But none with an "if" that is a function to one side and not to the other.
    """
    while True:
        chosen = random.choices(TOKENS, k=random.randint(1, 6))
        if random.random() < 0.8:
            chosen = re.findall(r"if_\(|\d*\.?\d+(?:[eE][+-]?\d+)?\.?|\w+|[<>=!]=|//|\S",
                                expression(random.randint(2, 12)))
            for _ in range(random.randint(1, 2)):
                place = random.randrange(len(chosen))
                chosen[place:place + random.randint(0, 1)] = random.choices(TOKENS, k=random.randint(0, 1))
                chosen = chosen or ["1"]
        text = " ".join(chosen)
        if not re.search(r"(^|[^\w).] |\b(if|else|and|or|not|in|is|lambda|for) )if \(", text):
            return text.replace("if(", "if_(")


def variables():
    choices = ["0", "1", "2", "3.5", "1000", "123456", "-4", "0.001", "1e39", "1.50", "1e41"]
    weights = [4, 4, 4, 4, 4, 4, 2, 2, 1, 2, 0.2]
    return {name: random.choices(choices, weights)[0] for name in VARIABLES if random.random() < 0.8}


def observe(cases):
    """What ducto makes of the cases."""
    script = ["CREATE FUNCTION pg_temp.attempt(expression text, variables jsonb) RETURNS text",
              "LANGUAGE plpgsql AS $$BEGIN RETURN ducto.expr_value(expression, variables)::text;",
              "EXCEPTION WHEN OTHERS THEN RETURN 'error ' || SQLSTATE; END$$;",
              "CREATE TEMP TABLE cases(id integer, expression text, variables jsonb);",
              "COPY cases FROM STDIN;"]
    for number, (text, values) in enumerate(cases):
        here = text.replace("if_(", "if(").replace("\n", "\\n").replace("\t", "\\t")
        numbers = json.dumps(values).replace('": "', '": ').replace('", "', ', "').replace('"}', "}")
        script.append(f"{number}\t{here}\t{numbers}")
    script += ["\\.",
               "COPY (SELECT pg_temp.attempt(expression, variables) FROM cases ORDER BY id) TO STDOUT;"]
    done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input="\n".join(script) + "\n",
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout.splitlines()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    random.seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    cases = []
    for number in range(count):
        text = expression(random.randint(1, 30)) if number % 2 else tokens()
        if len(text) < 4000:
            cases.append((text, variables()))

    tally = {}
    failed = 0
    for (text, values), seen in zip(cases, observe(cases), strict=True):
        wanted = expected(text, values)
        agreed = seen == "error " + wanted if isinstance(wanted, str) else (
            not seen.startswith("error") and Decimal(seen) == wanted)
        kind = wanted if isinstance(wanted, str) else "value"
        tally[kind] = tally.get(kind, 0) + 1
        if not agreed:
            failed += 1
            print(f"{text!r} {values}: expected {wanted}, seen {seen}")
    print(", ".join(f"{kind}: {tally[kind]}" for kind in sorted(tally)))
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
