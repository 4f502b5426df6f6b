// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The status page. Everything that comes from the daemon is set as text, never as markup.
"use strict";

const REFRESH_MS = 5000;
const ROWS_MAX = 500;
const CELL_PX = 12;
const CELLS_MAX = 16384;
// From best to worst: of several extents in one cell the last shows.
const STATES = ["never", "ok", "moved", "slow", "suspect", "lost"];
const GLYPHS = { never: "", ok: "", moved: "→", slow: "~", suspect: "!", lost: "×" };
const HEALTH_GLYPHS = { OK: "✓", WARN: "!", BAD: "×" };
const MEANING = {
  never: "no I/O seen", ok: "in order", moved: "moved to the spare", slow: "slow", suspect: "expected to fail",
  lost: "data lost",
};

const $ = (id) => document.getElementById(id);
let selectedDevice = null;
let cells = [];
let extentsPerCell = 1;
let columns = 1;
let cursor = 0;

function element(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function bytesText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit++; }
  return `${Number(bytes.toFixed(1))} ${units[unit]}`;
}

function microsecondsText(us) {
  if (!(us >= 0)) return "–";
  if (us < 1000) return `${us} µs`;
  return us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

function ageText(at) {
  const seconds = Math.max(0, Date.now() / 1000 - at);
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

async function ask(path) {
  const response = await fetch(path, { cache: "no-store" });
  const answer = await response.json();
  if (!answer.ok) throw new Error(answer.error || `status ${response.status}`);
  return answer;
}

// ---- verdict and cards ----

function verdict(devices) {
  if (!devices.length) return ["OK", "remapd is running and watches no device."];
  const bad = devices.filter((d) => d.health === "BAD").map((d) => d.device);
  const warn = devices.filter((d) => d.health === "WARN").map((d) => d.device);
  if (bad.length) return ["BAD", `Data was lost or the spare is used up on ${bad.join(", ")}. Replace the disk.`];
  const unread = devices.filter((d) => d.target && d.target.unread_sectors > 0).map((d) => d.device);
  if (unread.length) return ["WARN", `Some data of ${unread.join(", ")} can't be read now. Plan to replace the disk.`];
  if (warn.length) return ["WARN", `Wearing out, with all data still there: ${warn.join(", ")}. Plan to replace the disk.`];
  return ["OK", devices.length === 1 ? `${devices[0].device} is healthy.` : `All ${devices.length} devices are healthy.`];
}

function setVerdict(health, text) {
  const line = `${HEALTH_GLYPHS[health] || "×"} ${text}`;
  $("verdict").dataset.health = health;
  // Set only when it changes, so that screen readers don't repeat it.
  if ($("verdict").textContent !== line) $("verdict").textContent = line;
}

function facts(device) {
  const target = device.target;
  const list = [["main", device.main + (device.serial ? ` (${device.serial})` : "")]];
  if (target) {
    const used = (device.spare_used_bytes || 0) + (device.spare_retired_bytes || 0);
    const total = device.spare_size_bytes || 0;
    list.push(["spare", `${device.spare}: ${total ? Math.ceil(used * 100 / total) : 0} % of ${bytesText(total)}`]);
    list.push(["moved blocks", target.mapped_blocks], ["unread sectors", target.unread_sectors],
      ["lost sectors", target.lost_sectors], ["mode", `${target.mode}, main ${target.main_state}`]);
  }
  list.push(["suspect extents", device.extent_states ? device.extent_states.suspect : "–"]);
  if (device.latency) {
    list.push(["read p50 / p99", `${microsecondsText(device.latency.read.p50_us)} / ${microsecondsText(device.latency.read.p99_us)}`]);
  }
  list.push(["policy", device.policy_mode + (device.held && device.held.length ? `, held: ${device.held.join(", ")}` : "")]);
  if (device.last_action) list.push(["last action", `${ageText(device.last_action.at)}: ${device.last_action.text}`]);
  return list;
}

function showCards(devices) {
  const focused = document.activeElement && document.activeElement.dataset.device;
  $("cards").replaceChildren(...devices.map((device) => {
    const card = element("div", undefined, {
      class: "card", role: "button", tabindex: "0", "data-device": device.device,
      "aria-pressed": String(device.device === selectedDevice),
    });
    const title = element("h3", device.device);
    title.append(element("span", `${HEALTH_GLYPHS[device.health] || "?"} ${device.health}`, { "data-health": device.health }));
    const list = element("dl");
    for (const [name, value] of facts(device)) list.append(element("dt", name), element("dd", String(value ?? "–")));
    card.append(title, list);
    const choose = () => { selectedDevice = device.device; cursor = 0; $("why").hidden = true; refresh(); };
    card.addEventListener("click", choose);
    card.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
    });
    if (focused === device.device) queueMicrotask(() => card.focus());
    return card;
  }));
}

// ---- the map ----

function colorOf(state) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${state}`).trim() || "#888";
}

function paintCell(context, x, y, size, state, color, ink) {
  context.fillStyle = color;
  context.fillRect(x, y, size - 1, size - 1);
  if (GLYPHS[state]) {
    context.fillStyle = ink;
    context.fillText(GLYPHS[state], x + (size - 1) / 2, y + (size - 1) / 2 + 1);
  }
}

function prepare(canvas, width, height, size) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.floor(width * scale));
  canvas.height = Math.max(1, Math.floor(height * scale));
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.font = `bold ${size - 2}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  return context;
}

function paint() {
  const canvas = $("grid");
  const width = canvas.clientWidth || 600;
  columns = Math.max(1, Math.floor(width / CELL_PX));
  const height = Math.ceil(cells.length / columns) * CELL_PX;
  canvas.style.height = `${height}px`;
  const context = prepare(canvas, width, height, CELL_PX);
  const colors = Object.fromEntries(STATES.map((state) => [state, colorOf(state)]));
  cells.forEach((cell, i) => paintCell(context, (i % columns) * CELL_PX, Math.floor(i / columns) * CELL_PX, CELL_PX,
    cell.state, colors[cell.state], "#000"));
  if (cells[cursor]) {
    context.strokeStyle = colorOf("ink");
    context.lineWidth = 2;
    context.strokeRect((cursor % columns) * CELL_PX, Math.floor(cursor / columns) * CELL_PX, CELL_PX - 1, CELL_PX - 1);
  }
}

function showLegend(counts) {
  $("legend").replaceChildren(...STATES.map((state) => {
    const item = element("li");
    const swatch = element("canvas", undefined, { "aria-hidden": "true" });
    swatch.style.width = swatch.style.height = `${CELL_PX}px`;
    paintCell(prepare(swatch, CELL_PX, CELL_PX, CELL_PX), 0, 0, CELL_PX, state, colorOf(state), "#000");
    item.append(swatch, `${state}: ${MEANING[state]}, ${counts[state]}`);
    return item;
  }));
}

function showRows(list) {
  const unusual = list.filter((cell) => cell[1] !== "ok" || cell[5] > 0 || cell[4] > 0);
  $("rows").replaceChildren(...unusual.slice(0, ROWS_MAX).map(([extent, state, reads, writes, slow, errors, worst, risk]) => {
    const row = element("tr");
    row.append(element("th", String(extent), { scope: "row" }), element("td", `${GLYPHS[state] || ""} ${state}`));
    for (const value of [reads, writes, slow, errors]) row.append(element("td", String(value)));
    row.append(element("td", microsecondsText(worst)), element("td", Number(risk || 0).toPrecision(2)));
    return row;
  }));
  $("rows-note").textContent = unusual.length > ROWS_MAX ? `${unusual.length - ROWS_MAX} more are not shown.`
    : unusual.length ? "" : "None.";
}

function describe(cell) {
  if (!cell) return "";
  const range = cell.count > 1 ? `extents ${cell.first} to ${cell.first + cell.count - 1}` : `extent ${cell.first}`;
  let text = `${range}: ${MEANING[cell.state]}`;
  if (cell.reads + cell.writes) {
    text += `, ${cell.reads} reads, ${cell.writes} writes, ${cell.slow} slow, ${cell.errors} errors, worst ${microsecondsText(cell.worst)}`;
  }
  return text;
}

function showMap(answer) {
  const total = Math.max(0, Math.min(Number(answer.extents) || 0, 1 << 24));
  const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  extentsPerCell = Math.max(1, Math.ceil(total / CELLS_MAX));
  cells = Array.from({ length: Math.ceil(total / extentsPerCell) }, (_, i) => ({
    first: i * extentsPerCell, count: Math.min(extentsPerCell, total - i * extentsPerCell), worstExtent: i * extentsPerCell,
    state: "never", reads: 0, writes: 0, slow: 0, errors: 0, worst: 0,
  }));
  counts.never = total;
  for (const [extent, state, reads, writes, slow, errors, worst] of answer.cells) {
    const cell = cells[Math.floor(extent / extentsPerCell)];
    const known = STATES.includes(state) ? state : "ok";
    if (!cell) continue;
    counts[known]++;
    counts.never--;
    if (STATES.indexOf(known) > STATES.indexOf(cell.state)) { cell.state = known; cell.worstExtent = extent; }
    cell.reads += reads; cell.writes += writes; cell.slow += slow; cell.errors += errors;
    cell.worst = Math.max(cell.worst, worst);
  }
  cursor = Math.min(cursor, Math.max(0, cells.length - 1));
  $("map").hidden = false;
  $("map-title").textContent = `Extents of ${answer.device}`;
  showLegend(counts);
  showRows(answer.cells);
  paint();
}

function moveCursor(to) {
  if (!cells.length) return;
  cursor = Math.max(0, Math.min(cells.length - 1, to));
  $("cell").textContent = describe(cells[cursor]);
  paint();
}

async function explain() {
  const cell = cells[cursor];
  if (!cell || !selectedDevice) return;
  let text;
  try {
    text = (await ask(`api/explain?device=${encodeURIComponent(selectedDevice)}&extent=${cell.worstExtent}`)).text;
  } catch (error) {
    text = error.message;
  }
  $("why").textContent = text;
  $("why").hidden = false;
}

function cellAt(event) {
  return Math.floor(event.offsetY / CELL_PX) * columns + Math.min(columns - 1, Math.floor(event.offsetX / CELL_PX));
}

$("grid").addEventListener("mousemove", (event) => { if (cellAt(event) < cells.length) moveCursor(cellAt(event)); });
$("grid").addEventListener("click", (event) => { if (cellAt(event) < cells.length) { moveCursor(cellAt(event)); explain(); } });
$("grid").addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -cells.length, End: cells.length };
  if (event.key in steps) { event.preventDefault(); moveCursor(cursor + steps[event.key]); }
  if (event.key === "Enter") explain();
});
window.addEventListener("resize", paint);

// ---- refreshing ----

async function refresh() {
  try {
    const state = await ask("api/state");
    const devices = Array.isArray(state.devices) ? state.devices : [];
    if (!devices.some((d) => d.device === selectedDevice)) selectedDevice = devices.length ? devices[0].device : null;
    setVerdict(...verdict(devices));
    showCards(devices);
    $("version").textContent = state.daemon && state.daemon.version ? `remapd ${state.daemon.version}` : "";
    if (selectedDevice !== null) showMap(await ask(`api/extents?device=${encodeURIComponent(selectedDevice)}`));
    else $("map").hidden = true;
  } catch (error) {
    setVerdict("DOWN", error.message);
  }
}

async function loop() {
  await refresh();
  setTimeout(loop, REFRESH_MS);
}

loop();
