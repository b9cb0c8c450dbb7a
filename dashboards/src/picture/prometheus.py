"""Queries of a Prometheus, by its HTTP API."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import numpy as np

from picture.errors import QueryError


@dataclass(frozen=True)
class Sample:
    """A series' value at one time; NaN is a value."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """Values at times that are the same distance apart; NaN where there is none."""

    labels: dict[str, str]
    times: np.ndarray
    values: np.ndarray


class Prometheus:
    """A server, by the address that its API is below."""

    def __init__(self, url: str, timeout: float = 60) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout

    def instant(self, query: str, at: float) -> list[Sample]:
        """What a query gives at a time.

        Raises `QueryError` when the server can't be asked, or says no.
        """
        result = self._ask("query", {"query": query, "time": at})
        if result["resultType"] == "scalar":
            return [Sample({}, float(result["result"][1]))]
        if result["resultType"] != "vector":
            raise QueryError(f"the query gives a {result['resultType']}, and no vector: {query}")
        return [Sample(sample["metric"], float(sample["value"][1])) for sample in result["result"]]

    def over(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """What a query gives from one time to another, at whole multiples of the step.

        Raises `QueryError` as `instant` does.
        """
        # Grafana asks at whole steps, too, so that pictures of the same time are the same.
        start, end = start // step * step, end // step * step
        result = self._ask("query_range", {"query": query, "start": start, "end": end, "step": step})
        times = start + step * np.arange(round((end - start) / step) + 1)
        series = []
        for found in result["result"]:
            values = np.full(len(times), np.nan)
            for at, value in found["values"]:
                values[round((float(at) - start) / step)] = float(value)
            # What is infinite has no place on an axis.
            series.append(Series(found["metric"], times, np.where(np.isfinite(values), values, np.nan)))
        return series

    def _ask(self, what: str, parameters: dict[str, object]) -> dict:
        url = f"{self._url}/api/v1/{what}"
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(url, body, timeout=self._timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise QueryError(f"{_reason(error)}, of the query: {parameters['query']}") from error
        except (OSError, ValueError) as error:
            raise QueryError(f"cannot ask {url}: {error}; is Prometheus there?") from error
        for warning in answer.get("warnings", []):
            print(f"render: Prometheus warns: {warning}, of the query: {parameters['query']}", file=sys.stderr)
        return answer["data"]


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return json.load(error)["error"]
    except (ValueError, KeyError, TypeError):
        return str(error)
