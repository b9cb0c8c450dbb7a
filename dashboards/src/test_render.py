"""Tests of the pictures: `python3 -m unittest discover --start-directory dashboards/src --pattern test_render.py`.

They need what `scripts/setup pictures` installs, Prometheus among it.
"""

import contextlib
import io
import json
import math
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from unittest.mock import patch

import render  # first: it finds matplotlib

import numpy as np
from PIL import Image

from picture import colors, fields, frames, graph, page, palette, scales, templates, times, units
from picture.errors import PictureError, Unsupported
from picture.prometheus import Sample

SPAN = times.Span(1_700_000_000, 1_700_000_600, 15)
DASHBOARDS = sorted(pathlib.Path(render.__file__).resolve().parents[1].glob("*.json"))


class Units(unittest.TestCase):
    def test_values_have_three_digits_that_mean_something(self):
        for unit, value, told in (
            ("short", 0, "0"),
            ("short", 41.25, "41.2"),
            ("short", 1842, "1.84 K"),
            ("short", 999_999, "1 Mil"),
            ("none", 1842, "1842"),
            ("s", 0.0000005, "500 ns"),
            ("s", 0.00025, "250 µs"),
            ("s", 0.915, "915 ms"),
            ("s", 59.9, "59.9 s"),
            ("s", 90, "1.5 min"),
            ("s", 7200, "2 hours"),
            ("s", 0, "0 s"),
            ("ms", 1500, "1.5 s"),
            ("bytes", 1023, "1023 B"),
            ("bytes", 20.5 * 1024**2, "20.5 MiB"),
            ("decbytes", 2_500_000, "2.5 MB"),
            ("Bps", 1234, "1.23 kB/s"),
            ("binBps", 2048, "2 KiB/s"),
            ("percentunit", 0.0515, "5.15%"),
            ("percent", 12, "12%"),
            ("ops", 44.71, "44.7 ops/s"),
            ("ops", 12_300, "12.3K ops/s"),
            ("reqps", 0.25, "0.25 req/s"),
        ):
            with self.subTest(unit=unit, value=value):
                self.assertEqual(units.text(value, unit), told)

    def test_what_is_no_number_is_told(self):
        self.assertEqual(units.text(math.nan, "bytes"), "NaN")
        self.assertEqual(units.text(math.inf, "s"), "∞")

    def test_decimals_are_kept_when_asked_for(self):
        self.assertEqual(units.text(2, "s", 2), "2.00 s")

    def test_times_are_told_from_now(self):
        for ago, told in (
            (10, "a few seconds ago"),
            (360, "6 minutes ago"),
            (7200, "2 hours ago"),
            (-120, "in 2 minutes"),
        ):
            with self.subTest(ago=ago):
                self.assertEqual(units.from_now(1_700_000_000 - ago, 1_700_000_000), told)

    def test_an_unknown_unit_is_an_error(self):
        with self.assertRaisesRegex(Unsupported, "furlong"):
            units.text(1, "furlong")


class Variables(unittest.TestCase):
    BOARD = {
        "templating": {
            "list": [
                {
                    "name": "namespace",
                    "type": "query",
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"value": ["$__all"]},
                },
                {"name": "node", "type": "query", "multi": True, "current": {"value": ["a.b", "c"]}},
                {"name": "exec_id", "type": "textbox", "query": "abc"},
            ]
        }
    }

    def filled(self, text, **given):
        return templates.fill(text, templates.choices(self.BOARD, given), templates.built_in(SPAN, 15))

    def test_all_is_what_the_dashboard_says_it_is(self):
        for form in ("$namespace", "${namespace}", "${namespace:regex}", "[[namespace]]"):
            with self.subTest(form=form):
                self.assertEqual(self.filled(f'x{{namespace=~"{form}"}}'), 'x{namespace=~".*"}')

    def test_several_values_are_alternatives_and_escaped(self):
        self.assertEqual(self.filled('x{node=~"$node"}'), r'x{node=~"(a\\.b|c)"}')

    def test_a_given_value_is_a_regular_expression(self):
        self.assertEqual(self.filled("$namespace", namespace=["shop|pay.*"]), "shop|pay.*")
        self.assertEqual(self.filled("$namespace", namespace=["shop", "pay"]), "(shop|pay)")

    def test_text_is_put_in_as_it_is(self):
        self.assertEqual(self.filled("id=`$exec_id`"), "id=`abc`")

    def test_intervals_come_from_the_step_and_the_scrapes(self):
        self.assertEqual(
            self.filled("$__interval ${__interval_ms} $__rate_interval $__range $__range_s"), "15s 15000 60s 600s 600"
        )

    def test_what_nobody_knows_stays(self):
        self.assertEqual(self.filled("$nobody ${nobody} $1"), "$nobody ${nobody} $1")

    def test_a_value_for_no_variable_is_an_error(self):
        with self.assertRaisesRegex(Unsupported, "namesapce"):
            self.filled("", namesapce=["x"])


class Times(unittest.TestCase):
    def test_times_are_read_as_grafana_reads_them(self):
        self.assertEqual(times.parse_time("now", 1000), 1000)
        self.assertEqual(times.parse_time("now-15m", 1000), 100)
        self.assertEqual(times.parse_time("-15m", 1000), 100)
        self.assertEqual(times.parse_time("1970-01-01T00:10:00", 1000), 600)
        with self.assertRaisesRegex(PictureError, "yesterday"):
            times.parse_time("yesterday", 1000)

    def test_points_are_no_closer_than_scrapes(self):
        self.assertEqual(SPAN.step(10_000), 15)
        self.assertEqual(SPAN.step(10), 60)
        self.assertEqual(SPAN.step(10_000, least=60), 60)

    def test_ticks_are_round_and_reach_the_highest_value(self):
        self.assertEqual(scales.value_ticks(0, 83, 5, "short"), [0, 20, 40, 60, 80, 100])
        self.assertEqual(scales.value_ticks(0, 3 * 2**20, 3, "bytes"), [0, 2**20, 2 * 2**20, 3 * 2**20])
        self.assertEqual(scales.value_ticks(0, 0, 2, "short")[0], 0)
        self.assertEqual(scales.time_ticks(1_700_000_000, 1_700_000_600, 3), [1_700_000_100, 1_700_000_400])


class Names(unittest.TestCase):
    def test_labels_are_put_into_a_legend(self):
        labels = {"policy": "no-chmod", "action": "override"}
        self.assertEqual(frames.legend(labels, "{{policy}}: {{ action }}"), "no-chmod: override")
        self.assertEqual(frames.legend(labels, "{{policy}} {{gone}}"), "no-chmod ")

    def test_a_legend_of_its_own_is_what_differs(self):
        all_labels = [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}]
        self.assertEqual(frames.legend(all_labels[0], "__auto", all_labels), "x")
        self.assertEqual(frames.legend({"__name__": "up", "a": "1"}, "__auto"), 'up{a="1"}')

    def test_names_are_changed_where_a_whole_name_matches(self):
        rename = [{"id": "renameByRegex", "options": {"regex": "(.+)/", "renamePattern": "$1"}}]
        self.assertEqual(frames.renamed("shop/", rename), "shop")
        self.assertEqual(frames.renamed("shop/cart", rename), "shop/cart")

    def test_an_expression_that_grafana_refuses_is_an_error(self):
        rename = [{"id": "renameByRegex", "options": {"regex": "/", "renamePattern": "host"}}]
        with self.assertRaises(Unsupported):
            frames.renamed("/", rename)


class Tables(unittest.TestCase):
    def test_rows_of_the_same_labels_are_merged_and_columns_organized(self):
        a = frames.frame([Sample({"node": "n1", "v": "1"}, 1), Sample({"node": "n2", "v": "2"}, 2)], "Value #A")
        b = frames.frame([Sample({"node": "n2"}, 20), Sample({"node": "n3"}, 30)], "Value #B")
        organize = {"indexByName": {"Value #B": 0, "node": 1}, "renameByName": {"Value #B": "lost"}}
        table = frames.transformed(
            [a, b],
            [
                {"id": "merge", "options": {}},
                {"id": "filterFieldsByName", "options": {"include": {"names": ["node", "Value #B"]}}},
                {"id": "organize", "options": organize},
            ],
        )
        table = frames.ordered(table, [{"displayName": "lost", "desc": True}])
        self.assertEqual(table.columns, ["lost", "node"])
        self.assertEqual([(row["lost"], row["node"]) for row in table.rows], [(30, "n3"), (20, "n2"), (None, "n1")])

    def test_an_unknown_transformation_is_an_error(self):
        with self.assertRaisesRegex(Unsupported, "groupBy"):
            frames.transformed([frames.Rows([])], [{"id": "groupBy", "options": {}}])

    def test_columns_have_units_and_words_of_their_own(self):
        words = {"1": {"text": "yes", "color": "green"}, "0": {"text": "no", "color": "red"}}
        override = {
            "matcher": {"id": "byName", "options": "synced"},
            "properties": [
                {"id": "mappings", "value": [{"type": "value", "options": words}]},
                {"id": "unit", "value": "s"},
            ],
        }
        panel = {"fieldConfig": {"defaults": {"unit": "bytes"}, "overrides": [override]}}
        self.assertEqual(fields.of_column(panel, "synced").text(1.0), "yes")
        self.assertEqual(fields.of_column(panel, "synced").text(2.0), "2 s")
        self.assertEqual(fields.of_column(panel, "memory").text(2.0), "2 B")
        self.assertEqual(fields.of_column(panel, "synced").color(0.0, colors.LIGHT), colors.LIGHT.named["red"])


class Colors(unittest.TestCase):
    STEPS = ({"value": None, "color": "green"}, {"value": 0.7, "color": "yellow"}, {"value": 0.9, "color": "red"})

    def test_a_threshold_is_reached_at_its_value(self):
        for value, color in ((-1, "green"), (0.69, "green"), (0.7, "yellow"), (0.9, "red"), (5, "red")):
            with self.subTest(value=value):
                self.assertEqual(colors.by_threshold(value, self.STEPS), color)

    def test_series_of_a_panel_have_colours_of_their_own(self):
        names = [f"series {index}" for index in range(len(colors.PALETTE) + 3)]
        found = colors.of_series(names)
        self.assertEqual(len(set(found.values())), len(colors.PALETTE))
        self.assertEqual(colors.of_series(names[:1])[names[0]], found[names[0]])

    def test_an_unknown_colour_is_an_error(self):
        with self.assertRaisesRegex(Unsupported, "mauve"):
            colors.color("mauve", colors.DARK)

    def test_a_reduced_picture_keeps_the_colours_of_areas(self):
        image = Image.new("RGB", (64, 64), colors.LIGHT.canvas)
        image.paste(colors.LIGHT.panel, (8, 8, 40, 40))
        for index in range(600):
            image.putpixel((index % 60, 44 + index // 60), (index % 256, index // 3, 99))
        seen = palette.reduced(image).convert("RGB")
        self.assertEqual(seen.getpixel((1, 1)), (0xF4, 0xF5, 0xF5))
        self.assertEqual(seen.getpixel((20, 20)), (0xFF, 0xFF, 0xFF))
        self.assertLessEqual(len(seen.getcolors(100_000)), 256)


class Places(unittest.TestCase):
    PANELS = [
        {"type": "stat", "title": "s", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 4}},
        {"type": "row", "title": "A", "gridPos": {"x": 0, "y": 4, "w": 24, "h": 1}},
        {"type": "logs", "title": "l", "gridPos": {"x": 0, "y": 5, "w": 24, "h": 9}},
        {"type": "row", "title": "B", "gridPos": {"x": 0, "y": 14, "w": 24, "h": 1}},
        {"type": "table", "title": "t", "gridPos": {"x": 0, "y": 15, "w": 24, "h": 9}},
    ]

    def test_sections_move_up(self):
        kept = page._chosen(self.PANELS, ["B"])
        self.assertEqual([(one["title"], one["gridPos"]["y"]) for one in kept], [("s", 0), ("B", 4), ("t", 5)])
        with self.assertRaisesRegex(Unsupported, "no section 'C'"):
            page._chosen(self.PANELS, ["C"])

    def test_a_row_goes_with_the_last_panel_below_it(self):
        kept = page._moved_up(page._without(self.PANELS, [self.PANELS[2]]))
        self.assertEqual([(one["title"], one["gridPos"]["y"]) for one in kept], [("s", 0), ("B", 4), ("t", 5)])

    def test_series_stand_on_those_before_them(self):
        bottoms, tops = graph._stacked([np.array([1.0, np.nan]), np.array([2.0, 3.0])])
        self.assertEqual(list(bottoms[1]), [1, 0])
        self.assertEqual(list(tops[1]), [3, 3])
        self.assertTrue(np.isnan(tops[0][1]))


class Whole(unittest.TestCase):
    """Against a real Prometheus, which has a few series of an hour that is past."""

    START = 1_700_000_000

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        data = pathlib.Path(cls.folder, "data")
        lines = ["# TYPE made counter"]
        for kind, more in (("a", 2), ("b", 5)):
            lines += [f'made_total{{kind="{kind}"}} {more * i} {cls.START + 15 * i}' for i in range(240)]
        lines.append("# TYPE delay histogram")
        for le, more in (("0.1", 3), ("1.0", 4), ("+Inf", 4)):
            lines += [f'delay_bucket{{le="{le}"}} {more * i} {cls.START + 15 * i}' for i in range(240)]
        source = pathlib.Path(cls.folder, "data.om")
        source.write_text("\n".join([*lines, "# EOF\n"]))
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", source, data],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        config = pathlib.Path(cls.folder, "prometheus.yml")
        config.write_text("{}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        cls.url = f"http://{address}"
        server = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}"]
            + [f"--web.listen-address={address}", "--storage.tsdb.retention.time=100y"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.kill)
        while server.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{cls.url}/-/ready").close()
                return
            time.sleep(0.1)
        raise AssertionError(f"prometheus ended with {server.returncode}")

    def drawn(self, *panels, arguments=()):
        """What `render.py` ends with and says, and the picture's file."""
        board = pathlib.Path(self.folder, "board.json")
        at = {"x": 0, "y": 0, "w": 12, "h": 8}
        placed = [{"title": "It", "gridPos": {**at, "y": 8 * index}, **panel} for index, panel in enumerate(panels)]
        board.write_text(json.dumps({"title": "Board", "panels": placed}))
        out = pathlib.Path(self.folder, "board.png")
        out.unlink(missing_ok=True)
        return *self.run_it(board, out, arguments), out

    def run_it(self, board, out, arguments=()):
        span = ["--from", str(self.START + 600), "--to", str(self.START + 3000)]
        command = ["render.py", str(board), "--prometheus", self.url, "--out", str(out), *span, *arguments]
        said = io.StringIO()
        with patch.object(sys, "argv", command), contextlib.redirect_stderr(said):
            return render.main(), said.getvalue()

    def panel(self, kind, expr, options=None, defaults=None, **target):
        return {
            "type": kind,
            "datasource": {"type": "prometheus"},
            "targets": [{"refId": "A", "expr": expr, "legendFormat": "{{kind}}", **target}],
            "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "legend": {}, "graphMode": "area"}
            | (options or {}),
            "fieldConfig": {"defaults": {"noValue": "nothing"} | (defaults or {})},
        }

    def test_every_kind_of_panel_is_drawn(self):
        rate = "sum by (kind) (rate(made_total[$__rate_interval]))"
        buckets = "sum by (le) (increase(delay_bucket[$__rate_interval]))"
        bars = {"custom": {"drawStyle": "bars", "fillOpacity": 70, "stacking": {"mode": "normal"}}, "unit": "ops"}
        right = {"legend": {"placement": "right", "calcs": ["lastNotNull", "max"]}}
        status, said, out = self.drawn(
            self.panel("stat", "sum(rate(made_total[1m]))"),
            self.panel("stat", "made_total", instant=True),
            self.panel("timeseries", rate),
            self.panel("timeseries", rate, right, bars),
            self.panel("heatmap", buckets, {"yAxis": {"unit": "s"}}),
            self.panel("table", rate, instant=True, format="table"),
            self.panel("bargauge", rate, {"orientation": "horizontal"}, instant=True),
            {"type": "text", "options": {"content": "# Words"}},
            {"type": "logs", "datasource": {"type": "loki"}, "targets": [{"expr": "{a=`b`}"}]},
            {"type": "row"},
        )
        self.assertEqual((status, said), (0, ""))
        with Image.open(out) as image:
            self.assertEqual(image.size[0], 1560)
            series = {colors.of_series(["a", "b"])[name] for name in ("a", "b")}
            found = {"#%02x%02x%02x" % color for _, color in image.convert("RGB").getcolors(1_000_000)}
            self.assertLessEqual(series, found)

    def test_what_has_no_data_says_so_in_its_own_words(self):
        pictures = []
        for word in ("nothing", "nobody"):
            status, said, out = self.drawn(self.panel("timeseries", "gone", defaults={"noValue": word}))
            self.assertEqual((status, said), (0, ""))
            pictures.append(out.read_bytes())
        self.assertNotEqual(*pictures)

    def test_a_query_that_fails_ends_it_and_is_named(self):
        status, said, out = self.drawn(self.panel("timeseries", "sum(made_total"))
        self.assertEqual(status, 1)
        self.assertRegex(said, "Board, panel 'It': .*parse error.*sum\\(made_total")
        self.assertFalse(out.exists())

    def test_a_kind_of_panel_that_is_not_known_ends_it(self):
        status, said, _ = self.drawn(self.panel("timeseries", "made_total") | {"timeShift": "1h"})
        self.assertEqual(status, 1)
        self.assertIn("whose time is shifted", said)
        status, said, _ = self.drawn(self.panel("gauge", "made_total"))
        self.assertEqual(status, 1)
        self.assertIn("Board, panel 'It': panels of the type 'gauge'", said)

    def test_values_are_where_they_belong(self):
        """The share of a bar that is filled is the value's: b makes 5 where a makes 2."""
        color = {"color": {"mode": "fixed", "fixedColor": "#ff0000"}}
        panel = self.panel("bargauge", "sort_desc(made_total)", {"orientation": "horizontal"}, color, instant=True)
        status, said, out = self.drawn(panel)
        self.assertEqual((status, said), (0, ""))
        with Image.open(out) as image:
            # The bars are a mix of red and what is below them; the numbers behind them are all red.
            pixels = np.asarray(image.convert("RGB")).astype(int)
        barred = (pixels[..., 0] > 240) & (pixels[..., 1] > 40) & (pixels[..., 1] < 60)
        lengths = sorted({int(n) for n in barred.sum(axis=1) if n > 50})
        self.assertAlmostEqual(lengths[0] / lengths[-1], 2 / 5, delta=0.03)

    def test_the_dashboards_are_of_what_is_known(self):
        if not DASHBOARDS:
            self.skipTest("no dashboards are here")
        for board in DASHBOARDS:
            with self.subTest(board=board.name):
                status, said = self.run_it(board, pathlib.Path(self.folder, "it.png"))
                self.assertEqual((status, said), (0, ""))


if __name__ == "__main__":
    unittest.main()
