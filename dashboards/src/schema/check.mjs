// Checks dashboards against Grafana's own types, and their queries against the grammars of PromQL, LogQL and TraceQL:
// check.mjs FOLDER-WITH-NODE-MODULES FILE…
//
// Prints an object: `problems`, and the names that queries use: `labels` of LogQL with where they are (`stream`, `line`),
// `attributes` of TraceQL with their scopes.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
const modules = resolve(folder);
const require = createRequire(join(modules, "package.json"));
const ts = require("typescript");
const grammars = {
  prometheus: require("@prometheus-io/lezer-promql").parser,
  loki: require("@grafana/lezer-logql").parser,
  tempo: require("@grafana/lezer-traceql").parser,
};

const problems = [];
const labels = new Map();
const attributes = new Map();

// What Grafana puts in place of these before a query is sent.
const DURATIONS = /\$__(rate_interval|range|interval|auto)\b/g;

// === Queries ===

function checkQuery(where, kind, text) {
  const query = text.replace(DURATIONS, "5m");
  grammars[kind].parse(query).iterate({
    enter: ({ name, type, from, to, node }) => {
      const word = query.slice(from, to);
      if (type.isError) {
        const around = query.slice(Math.max(0, from - 20), to + 20);
        problems.push(`${where}: not ${kind}'s language at ${from}, near \`${around}\`: ${query}`);
      } else if (kind === "loki" && name === "Identifier" && node.parent?.name !== "LabelFormatMatcher") {
        labels.set(`${isOfStream(node) ? "stream" : "line"} ${word}`, where);
      } else if (kind === "tempo" && name === "AttributeField") {
        attributes.set(word, where);
      }
    },
  });
}

function isOfStream(node) {
  return node.parent?.name === "Matcher" && node.parent.parent?.name === "Matchers";
}

function checkQueries(where, panel) {
  for (const target of panel.targets ?? []) {
    const text = target.expr ?? target.query ?? "";
    const id = /^\$\w+$/.test(text); // a whole trace, by its id
    if (!id) checkQuery(`${where}, query ${target.refId}`, target.datasource.type, text);
  }
}

// === Types ===

// Panels whose options and fields have types; `null` where they have none.
const PANELS = {
  bargauge: ["bargauge/panelcfg/x/BarGaugePanelCfg_types.gen", "Options", null],
  heatmap: ["heatmap/panelcfg/x/HeatmapPanelCfg_types.gen", "Options", "FieldConfig"],
  logs: ["logs/panelcfg/x/LogsPanelCfg_types.gen", "Options", null],
  stat: ["stat/panelcfg/x/StatPanelCfg_types.gen", "Options", null],
  table: ["table/panelcfg/x/TablePanelCfg_types.gen", "Options", "FieldConfig"],
  timeseries: ["timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen", "Options", "FieldConfig"],
  traces: null,
};
const QUERIES = {
  loki: ["loki/dataquery/x/LokiDataQuery_types.gen", "LokiDataQuery"],
  tempo: ["tempo/dataquery/x/TempoDataQuery_types.gen", "TempoQuery"],
};

const PRELUDE = `
import type * as schema from "@grafana/schema";
import type * as raw from "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen";
// The same with texts and numbers in place of enumerations, as JSON has them.
type Plain<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Panel<Options, Custom> = Plain<
  Omit<raw.Panel, "options" | "fieldConfig" | "targets"> & {
    options: Options;
    fieldConfig: { defaults: Omit<raw.FieldConfig, "custom"> & { custom?: Custom };
                   overrides: raw.FieldConfigSource["overrides"] };
  }
>;
`;

function typed(path, name) {
  return `import("@grafana/schema/dist/esm/raw/composable/${path}").${name}`;
}

/// Declarations that compile where the panel is right.
function ofPanel(panel) {
  const { targets, ...rest } = panel;
  const [path, options, custom] = PANELS[panel.type] ?? [];
  const optionsType = path ? typed(path, options) : "Record<string, never>";
  const customType = custom ? typed(path, custom) : "Record<string, never>";
  const declarations = [[`Panel<${optionsType}, ${customType}>`, rest]];
  for (const target of targets ?? []) {
    const query = QUERIES[target.datasource?.type];
    if (query) declarations.push([`Plain<${typed(...query)}>`, target]);
  }
  for (const { id, value } of panel.fieldConfig.overrides.flatMap(({ properties }) => properties)) {
    const [first, field] = id.split(".");
    const property = { [field ?? first]: value };
    declarations.push([`Plain<Partial<${field ? customType : "raw.FieldConfig"}>>`, property]);
  }
  return declarations;
}

function checkTypes(sources) {
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Node10,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.getSourceFile = (name, ...rest) =>
    sources.has(name)
      ? ts.createSourceFile(name, sources.get(name), ts.ScriptTarget.ES2022)
      : getSourceFile.call(host, name, ...rest);
  host.fileExists = (name) => sources.has(name) || fileExists.call(host, name);
  host.readFile = (name) => sources.get(name) ?? readFile.call(host, name);
  const program = ts.createProgram([...sources.keys()], options, host);
  for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
    const message = ts.flattenDiagnosticMessageText(diagnostic.messageText, " ");
    const source = diagnostic.file?.text ?? "";
    const before = source.slice(0, diagnostic.start ?? 0);
    const panel = before.slice(before.lastIndexOf("\n// ") + 4).split("\n", 1)[0];
    problems.push(`${basename(diagnostic.file?.fileName ?? "", ".ts")}.json: ${panel}: ${message}`);
  }
}

// === All of it ===

const sources = new Map();
for (const file of files) {
  const name = basename(file);
  const dashboard = JSON.parse(readFileSync(file, "utf8"));
  const lines = [PRELUDE, "// dashboard", `const dashboard: Plain<schema.Dashboard> = ${JSON.stringify(dashboard)};`];
  for (const panel of dashboard.panels.filter(({ type }) => type !== "row")) {
    checkQueries(`${name}: ${panel.title}`, panel);
    ofPanel(panel).forEach(([type, value], index) => {
      lines.push(`// panel ${panel.id}, ${panel.title}`);
      lines.push(`const panel${panel.id}_${index}: ${type} = ${JSON.stringify(value, null, 1)};`);
    });
  }
  sources.set(join(modules, name.replace(/\.json$/, ".ts")), lines.join("\n"));
}
checkTypes(sources);
console.log(JSON.stringify({ problems, labels: [...labels], attributes: [...attributes] }));
