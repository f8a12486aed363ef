"""The modules of the drawing board that know no page: edits and undo, layout, merging, difference of plans."""

from typing import Any

import pytest
from playwright.sync_api import Page

from apps.chains.chain_definition import settings_check
from apps.chains.engine.foreign import FOREIGN
from apps.chains.engine.nfs.registry import MAKERS
from nfvportal.lib.errors import InvalidInputError

MODULES = "/static/js/chains/"


@pytest.fixture
def page(module_page: Page) -> Page:
    """A page that these modules are loaded into."""
    return module_page


def run(page: Page, script: str, argument: Any = None) -> Any:
    """Run the body of an async function with the modules by their names and ``arg``."""
    names = ("model", "layout", "merge", "plan_diff", "words", "params", "live_model", "histograms")
    imports = "".join(f'const {name} = await import("{MODULES}{name}.js");' for name in names)
    return page.evaluate(f"async (arg) => {{ {imports} {script} }}", argument)


def nf(index: int, server: str, name: str = "") -> dict[str, Any]:
    return {"kind": "nf", "index": index, "name": name or f"nf{index}", "type": "t", "server": server}


def series(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "series", "parts": list(parts)}


def parallel(server: str, *branches: dict[str, Any], copies: list[str] | None = None) -> dict[str, Any]:
    copies = copies or ["shared"] * len(branches)
    return {"kind": "parallel", "branches": list(branches), "copies": copies, "server": server}


def test_every_edit_is_undone_and_redone(page: Page) -> None:
    """Whatever the edits, undoing all of them gives the first draft, redoing all gives the last."""
    script = """
    let seed = arg;
    const random = (limit) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % limit; };
    const history = new model.EditHistory(model.draftOf({ name: "x" }));
    const seen = [history.present];
    for (let step = 0; step < 120; step += 1) {
      const { present } = history;
      const size = present.nfs.length;
      const edits = [
        () => model.addNf(present, ["vpn", "monitor", "firewall"][random(3)], random(size + 1)),
        () => model.moveNf(present, random(size + 1), random(size + 1)),
        () => (size > 6 ? model.removeNf(present, random(size)) : present),
        () => model.changeNf(present, random(size + 1), { params: { a: random(3) } }),
        () => model.changeChain(present, { rate_pps: 1 + random(5) }),
        () => model.changeMatch(present, { proto: model.PROTOCOLS[random(3)] }),
      ];
      if (history.push(edits[random(edits.length)](), "edit")) seen.push(history.present);
    }
    const texts = seen.map(model.canonical);
    for (let at = seen.length - 1; at > 0; at -= 1) {
      if (model.canonical(history.present) !== texts[at]) return `undo at ${at}`;
      if (!history.undo()) return `nothing to undo at ${at}`;
    }
    if (history.undo() || history.isDirty) return "more to undo than was done";
    for (let at = 1; at < seen.length; at += 1) {
      if (!history.redo() || model.canonical(history.present) !== texts[at]) return `redo at ${at}`;
    }
    return history.redo() ? "more to redo than was done" : seen.length;
    """
    for seed in range(8):
        assert run(page, script, seed) > 40


def test_typing_in_one_field_is_one_step(page: Page) -> None:
    script = """
    const history = new model.EditHistory(model.draftOf({ name: "x", rate_pps: 1 }));
    const type = (rate) => history.push(model.changeChain(history.present, { rate_pps: rate }), "rate", "rate_pps");
    for (const rate of [12, 123, 1234]) type(rate);
    history.breakFold();
    type(5);
    const seen = [];
    while (history.undo()) seen.push(history.present.rate_pps);
    return seen;
    """
    assert run(page, script) == [1234, 1]


def test_a_new_edit_forgets_what_was_undone(page: Page) -> None:
    script = """
    const history = new model.EditHistory(model.draftOf({ name: "x" }));
    history.push(model.addNf(history.present, "vpn"), "one");
    history.undo();
    history.push(model.addNf(history.present, "ids"), "two");
    return [history.canRedo, history.present.nfs.map((nf) => nf.name), history.push(history.present, "nothing")];
    """
    assert run(page, script) == [False, ["ids"], False]


def test_draft_survives_the_way_to_the_api_and_back(page: Page) -> None:
    chain = {
        "name": "north", "title": "North", "match": {"src": "10.0.0.0/8", "dst_port": [80, 443]}, "rate_pps": 10.5,
        "packet_bytes": 700, "slo_p99_ms": 2.5, "replan": "off",
        "nfs": [{"name": "fw", "type": "firewall", "params": {"rules": [{"a": None}]}, "pinned_server": "s1",
                 "is_state_advisory": True, "service": {"mean_us": 3, "scv": 0, "is_waiting": True}}],
    }  # fmt: skip
    body = run(page, "return model.bodyOf(model.draftOf(arg))", chain)
    assert body == chain


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("", []), ("80, 443", [80, 443]), ("1 65535", [1, 65535]), ("0", None), ("65536", None), ("8o", None),
        ("1.5", None),
    ],
)  # fmt: skip
def test_ports(page: Page, text: str, ports: list[int] | None) -> None:
    assert run(page, "return model.portsOf(arg)", text) == ports


def test_problems_name_their_field(page: Page) -> None:
    script = """
    let draft = model.addNf(model.addNf(model.draftOf({ name: "Bad Name", rate_pps: 0 }), "vpn"), "vpn");
    draft = model.changeNf(draft, 1, { name: "vpn", service: { mean_us: 0, scv: -1, is_waiting: false } });
    return model.problemsOf(draft).map((problem) => problem.field);
    """
    fields = run(page, script)
    assert fields == [
        "name", "rate_pps", "nfs[0].name", "nfs[1].name", "nfs[1].service.mean_us", "nfs[1].service.scv",
    ]  # fmt: skip


TREES = {
    "one": nf(0, "s1"),
    "sequence": series(nf(0, "s1"), nf(1, "s1"), nf(2, "s2")),
    "block": parallel("s1", nf(0, "s1"), nf(1, "s2"), nf(2, "s1"), copies=["shared", "full", "header"]),
    "nested": series(
        nf(0, "s1"),
        parallel("classifier", series(nf(1, "s1"), parallel("s1", nf(2, "s1"), nf(3, "s1"))), nf(4, "s3")),
        series(nf(5, "s2"), nf(6, "s2"))["parts"][0],
        nf(7, "s1"),
    ),
}


@pytest.mark.parametrize("direction", ["right", "down"])
@pytest.mark.parametrize("name", TREES)
def test_layout_keeps_apart_what_is_apart(page: Page, name: str, direction: str) -> None:
    """No two nodes overlap, nothing leaves the picture, edges go forward, every NF is inside one box of its server."""
    out = run(page, "return layout.layoutOf(arg[0], arg[1])", [TREES[name], direction])
    nodes, groups = out["nodes"], out["groups"]
    for index, one in enumerate(nodes):
        assert 0 <= one["x"] <= out["width"] - one["width"]
        assert 0 <= one["y"] <= out["height"] - one["height"]
        assert not any(overlap(one, other) for other in nodes[index + 1 :])
    assert not any(overlap(one, other) for at, one in enumerate(groups) for other in groups[at + 1 :])
    for node in nodes:
        holding = [group["server"] for group in groups if overlap(node, group)]
        if node["kind"] == "nf":
            assert holding == [node["server"]]
        assert len(holding) <= 1
    by_id = {node["id"]: node for node in nodes}
    axis = "x" if direction == "right" else "y"
    for edge in out["edges"]:
        start, end = by_id[edge["from"]], by_id[edge["to"]]
        assert start[axis] < end[axis]
        assert edge["isWire"] == (start["server"] != end["server"])
    assert {"ingress", "egress"} < {node["kind"] for node in nodes}


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(
        one["x"] < other["x"] + other["width"]
        and other["x"] < one["x"] + one["width"]
        and one["y"] < other["y"] + other["height"]
        and other["y"] < one["y"] + one["height"]
    )


def test_formula_reads_like_the_chain(page: Page) -> None:
    tree = series(nf(0, "s", "vpn"), parallel("s", nf(1, "s", "monitor"), nf(2, "s", "fw")), nf(3, "s", "lb"))
    assert run(page, "return layout.formulaOf(arg)", tree) == "vpn → (monitor ∥ fw) → lb"
    tree = parallel("s", nf(0, "s", "monitor"), series(nf(1, "s", "fw"), nf(2, "s", "lb")))
    assert run(page, "return layout.formulaOf(arg)", tree) == "(monitor ∥ (fw → lb))"


def draft(*names: str, rate: float = 10, **changes: Any) -> dict[str, Any]:
    nfs = [{"name": name, "type": name, "params": changes.get(name, {})} for name in names]
    return {"name": "x", "title": changes.get("title", "X"), "rate_pps": rate, "nfs": nfs}


MERGE = """
const [base, mine, theirs] = arg.slice(0, 3).map(model.draftOf);
const rows = merge.mergeRows(base, mine, theirs);
const first = rows.map((row) => [row.field, row.choice]);
for (const row of rows) row.choice ??= arg[3];
const merged = merge.mergedOf(rows, mine, theirs);
const of = (key) => merged.nfs.map((nf) => nf[key]);
return { first, rate: merged.rate_pps, title: merged.title, names: of("name"), params: of("params") };
"""


def test_merge_keeps_both_when_they_touch_different_things(page: Page) -> None:
    base, mine = draft("a", "b"), draft("a", "b", rate=20)
    theirs = draft("a", "c", "b", title="New", b={"k": 1})
    out = run(page, MERGE, [base, mine, theirs, "mine"])
    assert all(choice is not None for _, choice in out["first"])
    assert out["rate"] == 20
    assert out["title"] == "New"
    assert out["names"] == ["a", "c", "b"]
    assert out["params"] == [{}, {}, {"k": 1}]


@pytest.mark.parametrize(("choice", "rate", "params"), [("mine", 20, {"k": 1}), ("theirs", 30, {"k": 2})])
def test_merge_asks_where_both_changed_the_same(
    page: Page, choice: str, rate: float, params: dict[str, int]
) -> None:
    out = run(
        page,
        MERGE,
        [draft("a"), draft("a", rate=20, a={"k": 1}), draft("a", rate=30, a={"k": 2}), choice],
    )
    assert out["first"] == [["rate_pps", None], ["nf:a.params", None]]
    assert out["rate"] == rate
    assert out["params"] == [params]


@pytest.mark.parametrize(("choice", "names"), [("mine", ["b", "a", "c"]), ("theirs", ["c", "b", "a"])])
def test_merge_of_two_orders(page: Page, choice: str, names: list[str]) -> None:
    out = run(page, MERGE, [draft("a", "b", "c"), draft("b", "a", "c"), draft("c", "b", "a"), choice])
    assert out["first"] == [["order", None]]
    assert out["names"] == names


def test_merge_of_an_nf_removed_here_and_changed_there(page: Page) -> None:
    out = run(page, MERGE, [draft("a", "b"), draft("a"), draft("a", "b", b={"k": 1}), "mine"])
    assert out["first"] == [["nf:b", None]]
    assert out["names"] == ["a"]


def test_merge_takes_out_what_only_one_of_us_touched(page: Page) -> None:
    out = run(page, MERGE, [draft("a", "b"), draft("a"), draft("a", "b", rate=7), "theirs"])
    assert out["first"] == [["rate_pps", "theirs"], ["nf:b", "mine"]]
    assert out["names"] == ["a"]


def test_nothing_to_merge(page: Page) -> None:
    out = run(page, MERGE, [draft("a"), draft("b", rate=3), draft("b", rate=3), "mine"])
    assert out["first"] == []
    assert out["names"] == ["b"]


def test_plan_difference_names_moves_and_pairs(page: Page) -> None:
    pair = {"first": 0, "second": 1, "first_name": "a", "second_name": "b", "kind": "ok"}
    figures = {"p99_us": 10}
    before = {"root": series(nf(0, "s1", "a"), nf(1, "s1", "b")), "obligations": [], "prediction": figures}
    after = {
        "root": parallel("s1", nf(0, "s1", "a"), nf(1, "s2", "b")),
        "obligations": [pair],
        "prediction": {"p99_us": 7},
    }
    diff = run(page, "return plan_diff.planDiff(arg[0], arg[1])", [before, after])
    assert diff["rows"] == [
        {"what": "b", "before": "on s1", "after": "on s2"},
        {"what": "a ∥ b", "before": "in order", "after": "side by side (ok)"},
    ]
    assert diff["figures"]["p99_us"] == [10, 7]
    assert sorted(diff["marks"]["after"]) == [0, 1]
    same = run(page, "return plan_diff.planDiff(arg, arg)", after)
    assert same["rows"] == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("words.duration(0)", "0 µs"), ("words.duration(12.34)", "12.3 µs"), ("words.duration(1234)", "1.23 ms"),
        ("words.duration(123456)", "123 ms"), ("words.duration(null)", "–"), ("words.predicted(null)", "overloaded"),
        ("words.change(100, 57)", "−43 %"), ("words.change(0, 5)", ""), ("words.change(42.41, 42.40)", "±0 %"),
        ("words.change(5, 5)", "±0 %"), ("words.change(100, 105.5)", "+5.5 %"),
        ("words.packetRate(1234567)", "1\u202f234\u202f567 packets/s"), ("words.targetOf(null)", "no target"),
    ],
)  # fmt: skip
def test_words(page: Page, script: str, words: str) -> None:
    assert run(page, f"return {script}") == words


def test_examples_of_settings_are_what_the_functions_take(page: Page) -> None:
    examples = run(page, "return params.SETTINGS")
    assert set(examples) == {*MAKERS, *FOREIGN}
    for slug, row in examples.items():
        settings_check("nf", slug, row["example"])
    assert {slug: list(names) for slug, names in run(page, "return params.TEXTS").items()} == {
        "nftables": ["ruleset"]
    }


@pytest.mark.parametrize("slug", sorted({*MAKERS, *FOREIGN}))
def test_warning_about_functions_that_need_settings(page: Page, slug: str) -> None:
    words = run(page, "return params.warningOf({ params: {} }, { implementation: arg })", slug)
    try:
        settings_check("nf", slug, {})
    except InvalidInputError:
        assert words == "needs parameters to run"
    else:
        assert words == ("drops everything: no rule allows" if slug == "firewall" else "")


def test_flow_says_whether_packets_come_out(page: Page) -> None:
    script = """
    const chain = new live_model.LiveChain();
    chain.load({ chain: {} });
    const seen = [];
    for (const [epoch, at_s, into, out, timed_out] of arg) {
      chain.apply("telemetry", { latency: { epoch, at_s, counters: { in: into, out, timed_out } } });
      seen.push(chain.flow);
    }
    return seen;
    """
    points = [[1, 1, 10, 5, 0], [1, 2, 30, 5, 18], [2, 3, 2, 2, 0], [2, 4, 5, 4, 0]]
    assert run(page, script, points) == [
        None, {"in": 20, "out": 0, "timedOut": 18}, None, {"in": 3, "out": 2, "timedOut": 0},
    ]  # fmt: skip


def test_histograms_show_each_function_and_the_wait_at_each_merge(page: Page) -> None:
    """Rows in the order packets meet them, over the bins that any of them uses; who measured nothing has no row."""
    empty = [0] * 32
    hops = [
        {"operator": 4, "kind": "merge", "nf": "", "latency_bins": [5, 0, 0, 1, *empty[4:]]},
        {"operator": 1, "kind": "mirror", "nf": "", "latency_bins": []},
        {"operator": 2, "kind": "nf", "nf": "web/monitor", "latency_bins": [*empty[:6], 9, 1, *empty[8:]]},
        {"operator": 3, "kind": "nf", "nf": "web/firewall", "latency_bins": empty},
        {"operator": 5, "kind": "nf", "nf": "web/old"},
    ]
    found = run(
        page,
        "const rows = histograms.histogramRows(arg); return [rows, histograms.binRange(rows), "
        "[0, 9, 10, 14, 21].map(histograms.edgeWords)];",
        hops,
    )
    rows, span, edges = found
    assert [(row["name"], row["isWait"], row["packets"]) for row in rows] == [
        ("monitor", False, 10),
        ("merge 4: wait for the last branch", True, 6),
    ]
    assert (span, edges) == ([0, 7], ["1 µs", "512 µs", "1.0 ms", "16 ms", "2.1 s"])
