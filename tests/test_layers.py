"""
The import rule: who may know of whom. It is read from the files, and nothing is imported for it.

    tap -> everything . server, tls, log, options -> interfaces, stats . options -> listen .
    protocols -> operations, item, interfaces, stats, watch, hot, latency, histogram . watch ->
    operations, item, interfaces, stats, hot . stats -> latency -> histogram -> nothing . hot ->
    nothing . storage -> interfaces, waiters . waiters -> nothing . backends -> item, interfaces .
    operations -> item, interfaces . interfaces -> item . item -> nothing . the others' operations
    are as operations . auth -> interfaces, failures, passwords . failures, passwords, client,
    dumps, throwaway -> nothing . shell -> client, dumps, histogram, passwords, throwaway . contrib
    -> client . tethered -> tap . pytest_plugin -> throwaway . testing -> interfaces, item,
    operations, and testing.serving, which has a server of its own, -> tap, options . offline ->
    backends, operations, interfaces, item, dumps . those commands of shell that work on a directory
    -> offline
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mctwist"

#: What commands mean.
OPERATIONS = (
    "operations",
    "meta_operations",
    "range_operations",
    "redis_operations",
    "simpledb_operations",
)

#: What of mctwist each part may import. A part is a package or a module; its own is free to it. A
#: module of a package may have a line of its own.
MAY = {
    "": set(),  # mctwist/__init__.py
    "item": set(),
    "interfaces": {"item"},
    "operations": {"interfaces", "item"},
    "meta_operations": {"interfaces", "item", "operations"},
    "long_double": set(),
    "redis_operations": {"interfaces", "item", "operations", "long_double"},
    "simpledb_operations": {"interfaces", "item", "operations"},
    "range_operations": {"interfaces", "item", "operations"},
    "histogram": set(),
    "latency": {"histogram"},
    "hot": set(),
    "stats": {"", "latency"},
    "backends": {"interfaces", "item"},
    "waiters": set(),
    "storage": {"interfaces", "item", "operations", "waiters"},
    "watch": {*OPERATIONS, "hot", "interfaces", "item", "stats"},
    "protocols": {
        *OPERATIONS,
        "histogram",
        "hot",
        "interfaces",
        "item",
        "latency",
        "stats",
        "watch",
    },
    "server": {"interfaces", "stats"},
    "auth": {"interfaces", "failures", "passwords"},
    "failures": set(),
    "passwords": set(),
    "client": set(),
    "dumps": set(),
    "offline": {*OPERATIONS, "backends", "dumps", "interfaces", "item"},
    "shell": {"client", "dumps", "histogram", "passwords", "throwaway"},
    "contrib": {"client"},
    "log": set(),
    "listen": set(),
    "options": {"listen", "log", "stats"},
    "tls": {"interfaces", "stats"},
    "testing": {"interfaces", "item", "operations"},
    "testing.serving": {"options", "tap"},
    "pytest_plugin": {"throwaway"},
    "throwaway": set(),
    # Run by throwaway as a process of its own.
    "tethered": {"tap"},
}  # type: dict[str, set[str]]


# Of the commands only those that work on a data directory.
for _name in ("backup", "check", "dump", "load", "restore", "stores"):
    MAY[f"shell.{_name}"] = {*MAY["shell"], "offline"}

#: What each part may import of others' packages, besides the standard library.
OUTSIDE = {
    "": set(),
    "item": set(),
    "interfaces": {"zope.interface"},
    "operations": set(),
    "meta_operations": set(),
    "long_double": set(),
    "redis_operations": set(),
    "simpledb_operations": set(),
    "range_operations": set(),
    "histogram": set(),
    "latency": set(),
    "hot": set(),
    "stats": set(),
    "backends": {"zope.interface"},
    "backends.lmdb": {"zope.interface", "lmdb"},
    "backends.checkpoint": {"lmdb"},
    "backends.reading": {"lmdb"},
    "backends.tables": {"lmdb"},
    "waiters": {"twisted"},
    "storage": {"zope.interface", "twisted"},
    "protocols": {"zope.interface", "twisted", "attrs"},
    "server": {"twisted", "attrs"},
    "auth": {"twisted", "zope.interface"},
    "failures": {"twisted"},
    "passwords": {"attrs"},
    "client": {"pymemcache"},
    "dumps": set(),
    "offline": {"lmdb"},
    "shell": {"click", "pymemcache", "rich", "zstandard"},
    "shell.repl.completion": {"prompt_toolkit"},
    "shell.repl.prompt": {"prompt_toolkit"},
    "contrib.connections": {"pymemcache"},
    "contrib.huey": {"huey", "pymemcache"},
    "contrib": set(),
    "log": {"twisted", "zope.interface"},
    "listen": {"twisted"},
    "options": {"twisted"},
    "tls": {"twisted", "zope.interface", "attrs", "OpenSSL"},
    "watch": set(),
    "tap": {"twisted", "zope.interface", "attrs"},
    "testing": {"twisted", "zope.interface"},
    "pytest_plugin": {"pytest"},
    "throwaway": set(),
    "tethered": {"twisted"},
}  # type: dict[str, set[str]]

#: By these a thread can be started, or handed work.
THREADS = (
    "threading.Thread",
    "threading.Timer",
    "_thread",
    "concurrent",
    "multiprocessing",
    "twisted.internet.threads",
    "twisted.python.threadpool",
    "twisted._threads",
)


def modules() -> Iterator["tuple[str, Path, ast.Module]"]:
    """The modules of mctwist: name below the package, path, content."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), path, ast.parse(path.read_text(), str(path))


def imports(tree: ast.AST, name: str) -> Iterator[str]:
    """The full names of what is imported in `tree`, which is of the module `name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            above = ""
            if node.level:
                above = ".".join(["mctwist", *name.split(".")][: -node.level]) + "."
            for alias in node.names:
                yield f"{above}{node.module or ''}.{alias.name}"


def part_of(name: str) -> str:
    """The part that the module `name` belongs to."""
    return name.split(".")[0]


def own(imported: str) -> Optional[str]:
    """The part of mctwist that `imported` is of; None: it is another's."""
    first, _, rest = imported.partition(".")
    if first != "mctwist":
        return None
    part = part_of(rest)
    there = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
    return part if there else ""


class LayerTests(SynchronousTestCase):
    """Each module, read."""

    def test_there_is_a_rule_for_each_part(self) -> None:
        parts = {part_of(name) for name, _, _ in modules()}
        self.assertEqual(parts - {"tap"} - set(MAY), set())
        self.assertEqual(parts - set(OUTSIDE), set())
        self.assertEqual({part_of(name) for name in MAY} - parts, set())
        self.assertTrue({"backends", "protocols", "storage", "tap"} <= parts)

    def test_imports_go_downward_only(self) -> None:
        for name, _, tree in modules():
            part = part_of(name)
            if part == "tap":
                continue
            for imported in imports(tree, name):
                layer = own(imported)
                if layer is not None and layer != part:
                    may = MAY.get(name, MAY[part])
                    self.assertIn(layer, may, f"mctwist.{name} imports {imported}")

    def test_what_is_taken_from_others(self) -> None:
        standard = getattr(sys, "stdlib_module_names", None)
        if standard is None:
            # Python 3.9 does not say; any later one in the matrix does.
            return
        for name, _, tree in modules():
            allowed = OUTSIDE.get(name, OUTSIDE[part_of(name)])
            for imported in imports(tree, name):
                if imported.split(".")[0] in standard or own(imported) is not None:
                    continue
                within = any(f"{imported}.".startswith(f"{package}.") for package in allowed)
                self.assertTrue(within, f"mctwist.{name} imports {imported}")

    def test_only_storage_has_to_do_with_threads(self) -> None:
        users = set()
        for name, _, tree in modules():
            for imported in imports(tree, name):
                if any(f"{imported}.".startswith(f"{thread}.") for thread in THREADS):
                    users.add(name)
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr in ("Thread", "callInThread"):
                    users.add(name)
        # tap lends the users' checking the reactor's own.
        self.assertEqual(users, {"storage", "tap"})

    def test_only_what_is_a_program_asks_for_the_reactor_and_only_when_called(self) -> None:
        for name, _, tree in modules():
            asked = "twisted.internet.reactor" in imports(tree, name)
            self.assertEqual(asked, name in ("tap", "tethered"), name)
            for node in tree.body:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    self.assertNotIn("twisted.internet.reactor", imports(node, name))

    def test_nothing_else_is_imported_inside_a_function(self) -> None:
        for name, _, tree in modules():
            for node in ast.walk(tree):
                if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    continue
                inside = set(imports(node, name)) - {"twisted.internet.reactor"}
                self.assertEqual(inside, set(), f"mctwist.{name}, {node.name}")

    def test_every_module_says_what_it_is(self) -> None:
        paths = [path for _, path, _ in modules()]
        for directory in ("tests", "twisted"):
            paths += sorted((ROOT / directory).rglob("*.py"))
        for path in paths:
            text = ast.get_docstring(ast.parse(path.read_text()))
            self.assertTrue((text and text.strip().endswith((".", ":"))) or text, str(path))

    def test_the_plugin_directory_is_nobodys_package(self) -> None:
        for directory in (ROOT / "twisted", ROOT / "twisted" / "plugins"):
            self.assertFalse((directory / "__init__.py").exists())
