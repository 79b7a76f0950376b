"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const [WIDTH, HEIGHT, EDGE] = [640, 560, 44];
  const plot = document.getElementById("plot");
  const card = document.getElementById("card");
  const slider = document.getElementById("snapshot");
  const faces = data.faces;
  const shown = { emotions: new Set(data.emotions.map((e) => e.code)), splits: new Set(), actor: "" };
  let at = -1; // the face that is looked at

  const draw = (name, attributes, parent) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (parent) parent.append(node);
    return node;
  };

  // one shape an emotion, so that colour is not all there is
  const shapes = {
    "^": "M0,-5.4 L5,3.8 L-5,3.8 Z", v: "M0,5.4 L5,-3.8 L-5,-3.8 Z", s: "M-4.2,-4.2 H4.2 V4.2 H-4.2 Z",
    o: "M-4.7,0 A4.7,4.7 0 1 0 4.7,0 A4.7,4.7 0 1 0 -4.7,0 Z", D: "M0,-5.6 L5.6,0 L0,5.6 L-5.6,0 Z",
    P: "M-1.8,-5.2 H1.8 V-1.8 H5.2 V1.8 H1.8 V5.2 H-1.8 V1.8 H-5.2 V-1.8 H-1.8 Z",
    X: "M-2.6,-5.2 L0,-2.6 L2.6,-5.2 L5.2,-2.6 L2.6,0 L5.2,2.6 L2.6,5.2 L0,2.6 L-2.6,5.2 L-5.2,2.6 L-2.6,0 L-5.2,-2.6 Z",
    p: "M0,-5.4 L5.1,-1.7 L3.2,4.4 L-3.2,4.4 L-5.1,-1.7 Z",
    "*": "M0,-6 L1.5,-2 L5.7,-1.9 L2.4,0.8 L3.5,4.9 L0,2.5 L-3.5,4.9 L-2.4,0.8 L-5.7,-1.9 L-1.5,-2 Z",
  };
  const emotion = Object.fromEntries(data.emotions.map((e) => [e.code, e]));

  const axes = draw("g", {}, plot);
  const marks = draw("g", {}, plot);
  const places = faces.map(() => [0, 0]);
  const nodes = faces.map((face) => {
    const style = emotion[face.emotion];
    const node = draw("path", { d: shapes[style.marker], fill: style.colour, class: "face" }, marks);
    if (face.split !== "train") node.classList.add("held");
    return node;
  });

  const visible = (face) =>
    shown.emotions.has(face.emotion) && shown.splits.has(face.split) && (!shown.actor || face.subject === shown.actor);

  const extent = (snapshots) => {
    const [xs, ys] = [0, 1].map((k) => snapshots.flatMap((s) => s.points.map((p) => p[k])));
    const span = (v) => [Math.min(...v), Math.max(...v)];
    const [x, y] = [span(xs), span(ys)];
    // equal units both ways
    const unit = Math.max((x[1] - x[0]) / (WIDTH - 2 * EDGE), (y[1] - y[0]) / (HEIGHT - 2 * EDGE)) || 1;
    return { unit, x: (x[0] + x[1]) / 2, y: (y[0] + y[1]) / 2 };
  };
  const ownExtents = data.snapshots.map((s) => extent([s]));
  const wholeExtent = extent(data.snapshots);

  const short = (v) => String(Number(v.toPrecision(2)));
  const place = () => {
    const number = Number(slider.value);
    const snapshot = data.snapshots[number];
    const frame = document.getElementById("same-scale").checked ? wholeExtent : ownExtents[number];
    const toX = (v) => WIDTH / 2 + (v - frame.x) / frame.unit;
    const toY = (v) => HEIGHT / 2 - (v - frame.y) / frame.unit;
    const size = Math.max(1, (0.8 * WIDTH) / (plot.getBoundingClientRect().width || WIDTH));
    let count = 0;
    faces.forEach((face, i) => {
      const [x, y] = snapshot.points[i];
      places[i] = [toX(x), toY(y)];
      nodes[i].setAttribute("transform", `translate(${places[i].map((v) => v.toFixed(2))}) scale(${size.toFixed(2)})`);
      const here = visible(face);
      nodes[i].style.display = here ? "" : "none";
      count += here;
    });
    document.getElementById("snapshot-name").textContent = snapshot.title;
    slider.setAttribute("aria-valuetext", snapshot.title);
    document.getElementById("count").textContent = `${count} of ${faces.length} images are shown.`;
    axes.replaceChildren();
    const step = niceStep(frame.unit * 110);
    for (const [flat, middle, half] of [[true, frame.x, WIDTH / 2], [false, frame.y, HEIGHT / 2]]) {
      const first = Math.ceil((middle - half * frame.unit) / step) * step;
      for (let v = first; v < middle + half * frame.unit; v += step) {
        if (flat) {
          draw("line", { class: "axis", x1: toX(v), x2: toX(v), y1: HEIGHT - 22, y2: HEIGHT - 17 }, axes);
          draw("text", { x: toX(v), y: HEIGHT - 4, "text-anchor": "middle" }, axes).textContent = short(v);
        } else {
          draw("line", { class: "axis", x1: 26, x2: 31, y1: toY(v), y2: toY(v) }, axes);
          draw("text", { x: 24, y: toY(v) + 4, "text-anchor": "end" }, axes).textContent = short(v);
        }
      }
    }
    if (at >= 0 && !visible(faces[at])) look(-1);
    else if (at >= 0) look(at);
  };

  const niceStep = (rough) => {
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  };

  const look = (i, speak = false) => {
    if (at >= 0) nodes[at].classList.remove("at");
    at = i;
    card.hidden = i < 0;
    if (i < 0) return;
    const face = faces[i];
    nodes[i].classList.add("at");
    card.replaceChildren();
    if (data.sprite) {
      const thumb = document.createElement("div");
      const { columns, rows, side, uri } = data.sprite;
      thumb.className = "thumb";
      thumb.style.backgroundImage = `url(${uri})`;
      thumb.style.backgroundSize = `${columns * side}px ${rows * side}px`;
      thumb.style.backgroundPosition = `-${(i % columns) * side}px -${Math.floor(i / columns) * side}px`;
      card.append(thumb);
    }
    const words = document.createElement("div");
    const lines = [emotion[face.emotion].name, `actor ${face.subject}`, `${face.split} subject`, face.image];
    lines.forEach((line, k) => {
      const row = document.createElement(k ? "div" : "strong");
      row.textContent = line;
      words.append(row);
    });
    card.append(words);
    if (speak) document.getElementById("spoken").textContent = lines.join(", ");
    const [box, mark] = [plot.getBoundingClientRect(), nodes[i].getBoundingClientRect()];
    const x = mark.left - box.left + mark.width / 2;
    const y = mark.top - box.top + mark.height / 2;
    card.style.left = `${Math.max(0, Math.min(x + 14, box.width - card.offsetWidth))}px`;
    card.style.top = `${y + 14 + card.offsetHeight > box.height ? Math.max(0, y - 14 - card.offsetHeight) : y + 14}px`;
  };

  // faces lie close together: the nearest one is meant
  const point = (event) => {
    const box = plot.getBoundingClientRect();
    const [x, y] = [((event.clientX - box.left) * WIDTH) / box.width, ((event.clientY - box.top) * HEIGHT) / box.height];
    let [nearest, least] = [-1, (16 * WIDTH) / box.width];
    faces.forEach((face, i) => {
      const distance = Math.hypot(places[i][0] - x, places[i][1] - y);
      if (distance < least && visible(face)) [nearest, least] = [i, distance];
    });
    if (nearest !== at) look(nearest);
  };

  const key = (event) => {
    const order = faces.map((_, i) => i).filter((i) => visible(faces[i]))
      .sort((a, b) => faces[a].emotion.localeCompare(faces[b].emotion) || faces[a].subject.localeCompare(faces[b].subject));
    const here = order.indexOf(at);
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      if (!order.length) return;
      const step = event.key === "ArrowRight" ? 1 : -1;
      look(order[here < 0 ? (step > 0 ? 0 : order.length - 1) : (here + step + order.length) % order.length], true);
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      slider.value = Number(slider.value) + (event.key === "ArrowUp" ? 1 : -1);
      place();
    } else if (event.key === "Escape") look(-1);
    else return;
    event.preventDefault();
  };

  const box = (parent, text, on, change, style) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = on;
    input.addEventListener("change", () => { change(input.checked); place(); });
    label.append(input);
    if (style) {
      const icon = draw("svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" });
      draw("path", { d: shapes[style.marker], fill: style.colour }, icon);
      label.append(icon);
    }
    label.append(text);
    document.getElementById(parent).append(label);
    return input;
  };

  const member = (set, value) => (on) => (on ? set.add(value) : set.delete(value));
  for (const e of data.emotions) box("emotions", e.name, true, member(shown.emotions, e.code), e);
  for (const split of data.splits) {
    shown.splits.add(split);
    box("splits", { train: "training", val: "validation", test: "test" }[split], true, member(shown.splits, split));
  }
  const actor = document.getElementById("actor");
  for (const subject of [...new Set(faces.map((f) => f.subject))].sort()) {
    const option = document.createElement("option");
    option.value = option.textContent = subject;
    actor.append(option);
  }
  actor.addEventListener("change", () => { shown.actor = actor.value; place(); });
  document.getElementById("same-scale").addEventListener("change", place);
  slider.max = data.snapshots.length - 1;
  slider.value = slider.max;
  slider.addEventListener("input", place);
  plot.addEventListener("keydown", key);
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointerleave", () => look(-1));
  plot.addEventListener("blur", () => look(-1));
  window.addEventListener("resize", place);
  place();

  // the loss, stages one after the other
  const chart = document.getElementById("loss-curve");
  if (chart && data.losses.length) {
    const rows = [];
    const tests = [];
    let start = 0;
    for (const stage of data.losses) {
      rows.push(stage.rows.map(([i, loss]) => [i + start, Math.max(loss, 1e-8)]));
      tests.push(stage.tests.map(([i, loss]) => [i + start, Math.max(loss, 1e-8)]));
      start += stage.rows.length ? stage.rows[stage.rows.length - 1][0] : 0;
    }
    const values = [...rows.flat(), ...tests.flat()].map((r) => Math.log10(r[1]));
    const [low, high] = [Math.floor(Math.min(...values)), Math.ceil(Math.max(...values))];
    const toX = (v) => 64 + (v / (start || 1)) * 822;
    const toY = (v) => 16 + ((high - Math.log10(v)) / (high - low || 1)) * 250;
    for (let power = low; power <= high; power += 1) {
      draw("line", { x1: 64, x2: 886, y1: toY(10 ** power), y2: toY(10 ** power), stroke: "#d9dce1" }, chart);
      draw("text", { x: 58, y: toY(10 ** power) + 4, "text-anchor": "end" }, chart).textContent = short(10 ** power);
    }
    for (const v of [0, start / 4, start / 2, (3 * start) / 4, start])
      draw("text", { x: toX(v), y: 288, "text-anchor": v === start ? "end" : "middle" }, chart).textContent = Math.round(v);
    rows.forEach((row, k) => {
      const points = row.map(([i, loss]) => `${toX(i).toFixed(1)},${toY(loss).toFixed(1)}`).join(" ");
      const stroke = ["#0072B2", "#D55E00"][k % 2];
      draw("polyline", { points, fill: "none", stroke, "stroke-width": 1.2 }, chart);
      const best = tests[k].reduce((a, b) => (a && a[1] <= b[1] ? a : b), null);
      for (const [i, loss] of tests[k])
        draw("circle", { cx: toX(i), cy: toY(loss), r: 3, fill: stroke, stroke: "white", "stroke-width": 0.6 }, chart);
      if (best)
        draw("circle", { cx: toX(best[0]), cy: toY(best[1]), r: 7, fill: "none", stroke: "#222" }, chart);
    });
  }
})();
