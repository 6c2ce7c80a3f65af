"use strict";
// Decides again over the spans of the page, and shows what follows.

const content = JSON.parse(document.getElementById("content").textContent);
const { labels, documents, strengths } = content;
const setting = {};
const views = {};

function reset() {
  setting.strength = content.own;
  setting.thresholds = labels.map((label) => label.threshold);
}

// The entities of a document under the setting: as Decision and GoldSpans.match have it.
function* made(number) {
  const { label, probability, made, agrees } = documents[number];
  const found = new Set();
  for (let i = 0; i < label.length; i++) {
    const below = probability[i] !== null && probability[i] < setting.thresholds[label[i]];
    if (below || !((made[i] >> setting.strength) & 1)) continue;
    const right = agrees[i] >= 0 && !found.has(agrees[i]);
    if (right) found.add(agrees[i]);
    yield { i, label: label[i], verdict: agrees[i] === null ? null : right };
  }
}

function counts() {
  const byType = labels.map(({ support }) => ({ right: 0, predicted: 0, support }));
  for (let number = 0; number < documents.length; number++) {
    for (const { label, verdict } of made(number)) {
      if (verdict === null) continue;
      byType[label].predicted += 1;
      byType[label].right += verdict;
    }
  }
  return byType;
}

// As scoring.spans.label_scores: of a type that gold lacks, recall and F1 are undefined.
function scoresOf({ right, predicted, support }) {
  return {
    predicted,
    right,
    support,
    p: predicted ? right / predicted : 0,
    r: support ? right / support : null,
    f: support ? (2 * right) / (predicted + support) : null,
  };
}

// As scoring.spans.micro_scores and macro_f.
function totalsOf(byType) {
  const sum = (key) => byType.reduce((total, of) => total + of[key], 0);
  const [right, predicted, support] = ["right", "predicted", "support"].map(sum);
  const defined = predicted + support > 0;
  const share = (part, whole) => (defined ? (whole ? part / whole : 0) : null);
  const f = byType.map((of) => scoresOf(of).f).filter((value) => value !== null);
  return {
    predicted,
    right,
    support,
    p: share(right, predicted),
    r: share(right, support),
    f: share(2 * right, predicted + support),
    macro: f.length ? f.reduce((total, value) => total + value, 0) / f.length : null,
  };
}

const COUNTS = new Set(["predicted", "right", "support"]);

function fill(row, scores) {
  for (const cell of row.querySelectorAll("[data-score]")) {
    const value = scores[cell.dataset.score];
    cell.dataset.value = value;
    if (value === null) cell.textContent = "n/a";
    else cell.textContent = COUNTS.has(cell.dataset.score) ? value : value.toFixed(3);
  }
}

const byId = (id) => document.getElementById(id);
const rows = [...document.querySelectorAll("#types tbody tr")];

function show() {
  const byType = counts();
  fill(byId("totals"), totalsOf(byType));
  rows.forEach((row, index) => fill(row, scoresOf(byType[index])));
  drawTypes(byType);
  if (content.name !== null) showSetting();
  for (const note of document.querySelectorAll("#notes details")) fillNote(note);
}

function drawTypes(byType) {
  if (!views.types) return;
  const scores = byType.map(scoresOf);
  const values = labels.flatMap(({ title, support }, index) =>
    support
      ? [["F1", "f"], ["recall", "r"], ["precision", "p"]].map(([score, key]) => ({
          type: title,
          score,
          value: scores[index][key],
        }))
      : []
  );
  views.types.data("types", values).runAsync();
}

function showSetting() {
  const strength = strengths[setting.strength];
  byId("strength").value = setting.strength;
  byId("strength").setAttribute("aria-valuetext", strength);
  byId("strength-value").textContent = strength;
  const thresholds = { ...content.kept };
  for (const input of document.querySelectorAll("[data-label]")) {
    const value = setting.thresholds[input.dataset.label];
    input.value = value;
    input.nextElementSibling.textContent = value.toFixed(2);
    if (value !== content.threshold) thresholds[labels[input.dataset.label].name] = value;
  }
  byId("setting").textContent = [
    `[components.${content.name}]`,
    `prior_strength = ${strength}`,
    `thresholds = ${JSON.stringify(thresholds)}`,
    ...(content.unnamed ? [`# Without the thresholds of ${content.unnamed} types whose names are not shown.`] : []),
  ].join("\n");
  byId("copied").textContent = "";
}

function listen() {
  byId("strength").max = strengths.length - 1;
  byId("strength").addEventListener("input", (event) => {
    setting.strength = Number(event.target.value);
    show();
  });
  byId("all").addEventListener("input", (event) => {
    byId("all-value").textContent = event.target.value;
    labels.forEach(({ decided }, index) => {
      if (decided) setting.thresholds[index] = Number(event.target.value);
    });
    show();
  });
  for (const input of document.querySelectorAll("[data-label]")) {
    input.addEventListener("input", () => {
      setting.thresholds[input.dataset.label] = Number(input.value);
      show();
    });
  }
  byId("reset").addEventListener("click", () => {
    reset();
    byId("all").value = 0;
    byId("all-value").textContent = "";
    show();
  });
  byId("copy").addEventListener("click", () => {
    // Selected in any case: a browser may refuse the clipboard, or wait for leave.
    getSelection().selectAllChildren(byId("setting"));
    byId("copied").textContent = "Selected: copy it with Ctrl+C.";
    const done = () => (byId("copied").textContent = "Copied.");
    navigator.clipboard?.writeText(byId("setting").textContent).then(done, () => {});
  });
}

const SIGNS = { right: "✓", wrong: "✗", missed: "○", unknown: "?" };

// What is in a note under the setting: entities that are made, and gold spans that none finds.
function marksOf(number) {
  const note = content.notes[number];
  const { gold, label, probability, agrees } = documents[number];
  const missed = new Set(gold.keys());
  const marks = [];
  for (const { i, verdict } of made(number)) {
    if (verdict) missed.delete(agrees[i]);
    const [start, end] = note.found[i];
    const kind = verdict === null ? "unknown" : verdict ? "right" : "wrong";
    marks.push({ start, end, kind, label: labels[label[i]].name, probability: probability[i] });
  }
  for (const i of missed) {
    const [start, end, of] = note.gold[i];
    marks.push({ start, end, kind: "missed", label: labels[gold[i]].name, probability: of });
  }
  return marks;
}

const wordsOf = ({ kind, label, probability }) =>
  `${SIGNS[kind]} ${label}` + (probability === null ? "" : ` ${probability.toFixed(2)}`);

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// The text in pieces between all ends of marks; offsets are of code points.
function pieces(number) {
  const text = Array.from(content.notes[number].text);
  const marks = marksOf(number);
  const ends = [...new Set([0, text.length, ...marks.flatMap((of) => [of.start, of.end])])];
  ends.sort((a, b) => a - b);
  return ends.slice(0, -1).flatMap((start, index) => {
    const end = ends[index + 1];
    const part = text.slice(start, end).join("");
    const over = marks.filter((of) => of.start < end && of.end > start);
    if (!over.length) return [part];
    const kind = ["wrong", "missed", "right", "unknown"].find((one) => over.some((of) => of.kind === one));
    const mark = element("mark", { className: kind, title: over.map(wordsOf).join("; ") }, part);
    const color = labels.findIndex((of) => of.name === over[0].label) % 6;
    mark.dataset.color = color;
    const done = over.filter((of) => of.end === end);
    return [mark, ...done.map((of) => element("small", { className: of.kind }, `${SIGNS[of.kind]} ${of.label}`, element("span", {}, of.probability === null ? "" : ` ${of.probability.toFixed(2)}`)))];
  });
}

function fillNote(note) {
  const kinds = marksOf(note.dataset.number).map((of) => of.kind);
  const number = (kind) => kinds.filter((one) => one === kind).length;
  note.firstElementChild.textContent =
    `${content.notes[note.dataset.number].id}: ` +
    `${number("right")} right, ${number("wrong")} wrong, ${number("missed")} missed`;
  if (note.open) note.lastElementChild.replaceChildren(...pieces(note.dataset.number));
}

function listNotes() {
  const notes = content.orders[byId("order").value].map((number, place) => {
    const note = element("details", { open: place === 0 }, element("summary"), element("div"));
    note.dataset.number = number;
    note.addEventListener("toggle", () => fillNote(note));
    fillNote(note);
    return note;
  });
  byId("notes").replaceChildren(...notes);
}

async function start() {
  reset();
  if (content.name !== null) listen();
  if (content.notes) {
    byId("order").addEventListener("change", listNotes);
    byId("always").addEventListener("change", (event) => {
      byId("notes").classList.toggle("always", event.target.checked);
    });
    listNotes();
  }
  show();
  for (const [name, specification] of Object.entries(content.charts)) {
    const target = document.querySelector(`#chart-${name} > div`);
    const options = { actions: false, renderer: "svg", ast: true };
    views[name] = (await vegaEmbed(target, specification, options)).view;
  }
  document.body.dataset.ready = "";
}

start();
