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

/** Lines of [[x, y], ...], the first in the accent's colour. */
function lineChart(label, lines, xTitle, options = {}) {
  const all = lines.flat();
  const range = (i) => [Math.min(...all.map((p) => p[i])), Math.max(...all.map((p) => p[i]))];
  const [low, high] = options.y ?? range(1);
  const margin = options.y ? 0 : (high - low || Math.abs(high) || 1) * 0.06;
  const frame = axes(label, options.x ?? range(0), [low - margin, high + margin], xTitle, options);
  lines.forEach((line, i) => {
    const kind = i ? " second" : "";
    const points = line.map(([x, y]) => `${frame.x(x).toFixed(1)},${frame.y(y).toFixed(1)}`);
    frame.svg.append(draw("polyline", {class: "curve" + kind, points: points.join(" ")}));
    if (line.length <= 30) {
      line.forEach(([x, y]) => frame.svg.append(draw("circle", {class: "dot" + kind, cx: frame.x(x), cy: frame.y(y), r: 2.5})));
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

/** Curves of the training; a model of another library comes without. */
function drawCurves(charts) {
  const byEpoch = (curve) => Array.from(curve, (y, i) => [i + 1, y]);
  const describe = (name, curve) =>
    `${name} from ${figure(curve[0])} to ${figure(curve[curve.length - 1])} in ${count(curve.length, "epoch")}`;
  const x = [1, Math.max(2, curves.loss.length)];
  charts.append(chart("Training loss",
    lineChart(describe("Training loss", curves.loss), [byEpoch(curves.loss)], "epoch", {whole: true, x}).svg));
  const lines = [byEpoch(curves.correlation)];
  const caption = make("span", {class: "legend"}, make("span", {}, "Correlation in training"));
  if (curves.held_out.length) {
    lines.push(byEpoch(curves.held_out));
    caption.append(make("span", {class: "second"}, "held out"));
  }
  charts.append(chart(curves.held_out.length ? caption : "Correlation in training",
    lineChart(describe("Correlation in training", curves.correlation), lines, "epoch", {whole: true, x}).svg));
}

function drawTraining() {
  const charts = find(".charts");
  if (curves.loss.length) drawCurves(charts);
  const last = curves.share.length - 1;
  const share = Array.from(curves.share, (y, i) => [i / last, y]);
  const frame = lineChart("Share of the reconstructions' variance that the first atoms carry", [share],
    "fraction of the atoms, those that carry most first", {x: [0, 1], y: [0, 1]});
  const [left, right] = [frame.x(0), frame.x(1)];
  frame.svg.append(draw("line", {class: "mark", x1: left, x2: right, y1: frame.y(0.8), y2: frame.y(0.8)}));
  charts.append(chart("Share of the reconstructions' variance, with 80 % marked", frame.svg));
}
