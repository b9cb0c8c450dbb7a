"""Draws a dashboard as Grafana would, from the data of a real Prometheus.

It knows what this project's dashboards use. What it doesn't know is an error: a picture which leaves something out
would say something else than the dashboard.

| module | is |
|---|---|
| `errors.py` | what goes wrong |
| `times.py`, `templates.py` | the time that is shown, variables in queries |
| `prometheus.py` | queries |
| `frames.py` | names of series, rows of tables, what transformations make of them |
| `units.py`, `scales.py` | values as text, axes |
| `fields.py` | what a panel says of how values are shown |
| `colors.py`, `canvas.py`, `palette.py` | themes, thresholds, what draws rectangles and text, a small file |
| `scene.py` | what every panel is drawn with |
| `graph.py`, `heatmap.py`, `numbers.py`, `table.py`, `prose.py` | kinds of panels |
| `page.py` | where they stand |
"""
