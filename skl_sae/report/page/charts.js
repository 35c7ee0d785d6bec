// Charts.

const FRAME = {width: 360, height: 200, left: 46, right: 10, top: 8, bottom: 34};

function ticks(low, high, whole) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.8) ?? 10 * power;
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1}, (_, i) => (first + i) * step);
}

/** Empty axes over [x0, x1] and [y0, y1], and the functions that place numbers on them. */
function axes(label, [x0, x1], [y0, y1], xTitle, {whole = false, format = String} = {}) {
  const {width, height, left, right, top, bottom} = FRAME;
  const x = (value) => left + ((value - x0) / (x1 - x0 || 1)) * (width - left - right);
  const y = (value) => height - bottom - ((value - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const plain = (value) => String(Number(value.toPrecision(6))).replace("-", "−");
  const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label});
  for (const value of ticks(y0, y1)) {
    svg.append(
      draw("line", {class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value)}),
      draw("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, plain(value)),
    );
  }
  for (const value of ticks(x0, x1, whole)) {
    const text = format === String ? plain(value) : format(value);
    svg.append(draw("text", {x: x(value), y: height - bottom + 15, "text-anchor": "middle"}, text));
  }
  svg.append(draw("text", {x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle"}, xTitle));
  return {svg, x, y};
}

/** Lines of [[x, y], ...]; ``options.lines`` has their names, colours and kinds. */
function lineChart(label, lines, xTitle, options = {}) {
  const all = lines.flat();
  const range = (i) => [Math.min(...all.map((p) => p[i])), Math.max(...all.map((p) => p[i]))];
  const [low, high] = options.y ?? range(1);
  const margin = options.y ? 0 : (high - low || Math.abs(high) || 1) * 0.06;
  const frame = axes(label, options.x ?? range(0), [low - margin, high + margin], xTitle, options);
  lines.forEach((line, i) => {
    const told = options.lines?.[i] ?? {kind: ""};
    const kind = told.kind && ` ${told.kind}`;
    const points = line.map(([x, y]) => `${frame.x(x).toFixed(1)},${frame.y(y).toFixed(1)}`);
    const title = told.name ? [draw("title", {}, told.name)] : [];
    frame.svg.append(coloured(draw("polyline", {class: "curve" + kind, points: points.join(" ")}, ...title), told));
    if (line.length <= 30) {
      line.forEach(([x, y]) => frame.svg.append(coloured(draw("circle", {class: "dot" + kind, cx: frame.x(x), cy: frame.y(y), r: 2.5}), told)));
    }
  });
  return frame;
}

function histogram(label, counts, low, high, xTitle) {
  const frame = axes(label, [low, high], [0, Math.max(...counts)], xTitle);
  const width = (high - low) / counts.length;
  counts.forEach((n, i) => {
    const left = frame.x(low + i * width);
    const top = frame.y(n);
    frame.svg.append(draw("rect", {
      class: "bar", x: left + 0.5, y: top, width: Math.max(0.5, frame.x(low + (i + 1) * width) - left - 1),
      height: frame.y(0) - top,
    }));
  });
  return frame.svg;
}

const chart = (caption, ...content) => make("figure", {class: "chart"}, make("figcaption", {}, caption), ...content);

const MOST_TRAININGS = 8; // whose lines are drawn
const lineColour = (part) => [38, 64].map((light) => `hsl(${(212 + Math.round(360 * part)) % 360} 62% ${light}%)`);

/** A line of a chart for each fit; of several each has its colour, and is dashed where held out. */
function trainingLines(told, keys) {
  const lines = keys.flatMap((key) => told.map((one, m) => ({key, m, curve: one[key], name: one.name})));
  return lines.filter(({curve}) => curve.length).map(({key, m, curve, name}) => ({
    points: Array.from(curve, (y, i) => [i + 1, y]),
    name: [name, key === "held_out" ? "held out" : ""].filter(Boolean).join(", "),
    colour: told.length > 1 ? `light-dark(${lineColour(m / told.length).join(", ")})` : null,
    kind: key !== "held_out" ? "" : told.length > 1 ? "dashed" : "second",
  }));
}

/** A caption, with what the lines are if there are several. */
function lineLegend(title, lines) {
  if (lines.length < 2) return title;
  if (!lines[0].colour) return make("span", {class: "legend"}, make("span", {}, title), make("span", {class: "second"}, lines[1].name));
  const own = lines.filter(({kind}) => !kind);
  const more = TRAININGS.length > own.length ? ` of ${TRAININGS.length}` : "";
  return make("span", {class: "legend"}, make("b", {}, title), ...own.map((line) => coloured(make("span", {}, line.name), line)),
    ...(more || own.length < lines.length ? [make("b", {}, [more && `the first ${own.length}${more}`,
      own.length < lines.length && "dashed: held out"].filter(Boolean).join("; "))] : []));
}

function coloured(element, {colour}) {
  if (colour) element.style.setProperty("--own", colour);
  return element;
}

/** Curves of the training; a model of another library comes without. */
function drawCurves(charts) {
  const told = TRAININGS.slice(0, MOST_TRAININGS);
  const x = [1, Math.max(2, ...told.map(({loss}) => loss.length))];
  for (const [title, keys] of [["Training loss", ["loss"]], ["Correlation in training", ["correlation", "held_out"]]]) {
    const lines = trainingLines(told, keys);
    const label = lines.map(({name, points}) =>
      `${name && `${name}, `}from ${figure(points[0][1])} to ${figure(points[points.length - 1][1])} in ${count(points.length, "epoch")}`);
    const frame = lineChart(`${title} ${label.join("; ")}`, lines.map(({points}) => points), "epoch", {whole: true, x, lines});
    charts.append(chart(lineLegend(title, lines), frame.svg));
  }
}

/** Whether an epoch has a clearly larger loss than the one before it. */
const jumps = ({loss}) => loss.some((value, i) => i && value > 1.02 * loss[i - 1]);

function drawTraining() {
  const charts = find(".charts");
  if (TRAININGS.length) drawCurves(charts);
  if (TRAININGS.some(jumps)) charts.after(make("p", {class: "note"},
    "Where a curve jumps, training has gone back to an earlier epoch, which was better on images held out."));
  const last = curves.share.length - 1;
  const share = Array.from(curves.share, (y, i) => [i / last, y]);
  const frame = lineChart("Share of the reconstructions' variance that the first atoms carry", [share],
    "fraction of the atoms, those that carry most first", {x: [0, 1], y: [0, 1]});
  const [left, right] = [frame.x(0), frame.x(1)];
  frame.svg.append(draw("line", {class: "mark", x1: left, x2: right, y1: frame.y(0.8), y2: frame.y(0.8)}));
  charts.append(chart("Share of the reconstructions' variance; 80\u00a0% is marked", frame.svg));
}
