'use strict';
/* The page's own code: unpack the columns, draw the run on one time axis, list the operations.
 *
 * It reads two data blocks of the page (#timeline, #columns) and makes no request. All times are
 * microseconds of the history's clock. One `view` (what is shown), one `chosen` (what is
 * selected), one `pinned` operation; every band and the table follow them. */
const root = document.documentElement;
root.classList.add('js');
const asked = new URLSearchParams(location.search).get('theme');
try { root.dataset.theme = asked || localStorage.getItem('squall-theme') || ''; } catch { root.dataset.theme = asked || ''; }
if (!root.dataset.theme) delete root.dataset.theme;

const OUTCOMES = ['ok', 'info', 'fail'];
const GLYPHS = ['●', '◐', '○'];
const KINDS = ['partition', 'kill', 'clock', 'pause'];
const ROW = 26;
const MIN_SPAN = 200;
const $ = id => document.getElementById(id);
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
const seconds = us => (us / 1e6).toFixed(3) + ' s';
const length = us => us < 1000 ? us.toFixed(0) + ' µs' : us < 999500 ? (us / 1e3).toFixed(us < 9995 ? 2 : us < 99950 ? 1 : 0) + ' ms' : (us / 1e6).toFixed(2) + ' s';
const commas = n => n.toLocaleString('en-US');

/** Make an element; text is always text, never markup. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// ---- the columns (see columns.py for the layout) ----

async function unpack() {
  const text = $('columns').textContent.trim();
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), char => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = new DataView(raw.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + size)));
  const ops = { n: head.n, kinds: head.f, nodes: head.node, keys: head.key, errors: head.error, values: head.value };
  let at = 4 + size;
  for (const [name, width] of head.columns) {
    const column = ops[name] = new Float64Array(head.n);
    for (let plane = 0, unit = 1; plane < width; plane++, unit *= 256) for (let i = 0; i < head.n; i++) column[i] += raw[at++] * unit;
  }
  let start = 0, index = 0, highest = 0;
  const place = code => code === 0 ? 0 : code === 1 ? ++highest : highest - code + 2;
  ops.end = new Float64Array(head.n);
  ops.longest = 0;
  for (let i = 0; i < head.n; i++) {
    ops.start[i] = start += ops.start[i];
    ops.index[i] = index += ops.index[i];
    ops.end[i] = start + ops.length[i];
    ops.longest = Math.max(ops.longest, ops.length[i]);
    ops.input[i] = place(ops.input[i]);
    ops.output[i] = place(ops.output[i]);
  }
  return ops;
}

/** First place in a sorted column that is not below `value`. */
function firstAt(column, value) {
  let low = 0, high = column.length;
  while (low < high) { const middle = (low + high) >> 1; if (column[middle] < value) low = middle + 1; else high = middle; }
  return low;
}

document.addEventListener('DOMContentLoaded', () => {
  copying();
  theming();
  unpack().then(main).catch(error => { $('span').textContent = 'The operations could not be read: ' + error.message; throw error; });
});

function copying() {
  document.addEventListener('click', async event => {
    const button = event.target.closest && event.target.closest('[data-copy], [data-text]');
    if (!button) return;
    const text = button.dataset.text || $(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); } catch { const area = el('textarea'); area.value = text; document.body.append(area); area.select(); document.execCommand('copy'); area.remove(); }
    const label = button.textContent;
    if (label.startsWith('✓')) return;
    button.textContent = '✓ Copied';
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

function theming() {
  $('theme').addEventListener('click', () => {
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    try { localStorage.setItem('squall-theme', root.dataset.theme); } catch { /* not allowed to remember */ }
    document.dispatchEvent(new Event('themed'));
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => document.dispatchEvent(new Event('themed')));
}

function main(ops) {
  const timeline = JSON.parse($('timeline').textContent);
  const end = Math.max(timeline.end, 1);
  const view = { from: 0, to: end };
  let chosen = null, pinned = -1, anomalyAt = 0, hover = -1;
  const wrong = new Set(timeline.anomalies.flatMap(each => each.ops));
  const wrongAt = [];
  for (let i = 0; i < ops.n; i++) if (wrong.has(ops.index[i])) wrongAt.push(i);

  // ---- words ----

  const say = at => ops.values[at];
  function what(i) {
    const kind = ops.kinds[ops.f[i]], given = ops.input[i] ? ' ' + say(ops.input[i]) : '';
    if (ops.outcome[i] === 0 && ops.output[i]) return `${kind}${given} → ${say(ops.output[i])}`;
    return kind + given;
  }
  const who = i => { const process = timeline.processes[ops.process[i]]; return typeof process === 'number' ? 'p' + process : process; };
  const took = i => ops.outcome[i] === 1 ? '≥ ' + length(ops.length[i]) : length(ops.length[i]);
  const brief = i => `${GLYPHS[ops.outcome[i]]} ${OUTCOMES[ops.outcome[i]]}  ${what(i)}\n${who(i)} ${ops.nodes[ops.node[i]]} ${ops.keys[ops.key[i]]}  op ${commas(ops.index[i])}\n${seconds(ops.start[i])}, ${took(i)}${ops.error[i] ? '\n' + ops.errors[ops.error[i]] : ''}`;
  function leaderAt(us) {
    const said = [];
    for (const [node, stretches] of Object.entries(timeline.roles)) for (const [from, until, role, term] of stretches) {
      if (role === 'leader' && from <= us && us < until) said.push({ node, term });
    }
    said.sort((a, b) => b.term - a.term);
    return said.length ? said.map(each => `${each.node} of term ${each.term}`).join(', ') : 'none seen';
  }

  // ---- colours ----

  let ink = {}, hatches = {};
  function mix() {
    const css = getComputedStyle(root);
    ink = {};
    for (const name of ['page', 'panel', 'line', 'firm', 'ink', 'soft', 'faint', 'link', 'ok', 'info', 'fail', 'anomaly', 'lead', 'lead-text', 'partition', 'kill', 'clock', 'pause', 'other']) ink[name] = css.getPropertyValue('--' + name).trim();
    hatches = Object.fromEntries([...KINDS, 'other'].map(kind => [kind, hatch(kind)]));
  }
  const hue = kind => ink[KINDS.includes(kind) ? kind : 'other'];
  function hatch(kind) {
    const tile = el('canvas', { width: 14, height: 14 }), pen = tile.getContext('2d');
    pen.fillStyle = pen.strokeStyle = hue(kind);
    pen.lineWidth = 2;
    pen.beginPath();
    if (kind === 'partition') for (const shift of [-14, 0, 14]) { pen.moveTo(shift, 14); pen.lineTo(shift + 14, 0); }
    else if (kind === 'pause') for (const x of [2, 9]) { pen.moveTo(x, 0); pen.lineTo(x, 14); }
    else if (kind === 'clock') for (const [x, y] of [[3, 3], [10, 10]]) { pen.moveTo(x, y); pen.arc(x, y, 2, 0, 7); }
    else if (kind === 'kill') pen.rect(0, 0, 14, 14);
    else for (const y of [3, 10]) { pen.moveTo(0, y); pen.lineTo(14, y); }
    if (kind === 'kill' || kind === 'clock') pen.fill(); else pen.stroke();
    const pattern = pen.createPattern(tile, 'repeat');
    pattern.setTransform(new DOMMatrix().scale(0.5));
    return pattern;
  }

  // ---- canvases ----

  const stage = $('stage');
  let width = 0;
  /** Size a canvas for this screen and clear it. */
  function sheet(id, height) {
    const canvas = $(id), scale = devicePixelRatio || 1;
    const w = Math.round(width * scale), h = Math.round(height * scale);
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; canvas.style.height = height + 'px'; }
    const pen = canvas.getContext('2d');
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = '11px system-ui, sans-serif';
    pen.textBaseline = 'middle';
    return pen;
  }
  const x = us => (us - view.from) / (view.to - view.from) * width;
  const us = px => view.from + px / width * (view.to - view.from);

  function steps(span, room) {
    const rough = span / room, power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map(by => by * power).find(step => step >= rough);
  }
  function drawAxis() {
    const pen = sheet('axis', 20), step = steps(view.to - view.from, width / 90);
    pen.fillStyle = ink.soft; pen.strokeStyle = ink.firm; pen.textAlign = 'center';
    const digits = Math.max(0, -Math.floor(Math.log10(step / 1e6) + 1e-9));
    for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
      const px = x(at);
      pen.fillRect(Math.round(px), 0, 1, 4);
      pen.fillText((at / 1e6).toFixed(digits) + (step >= 1e6 ? ' s' : ''), clamp(px, 16, width - 16), 12);
    }
  }

  /** Faults of one kind may overlap: give each the first free row of its kind. */
  const faultRows = (() => {
    const rows = [];
    for (const fault of [...timeline.faults].sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.from - b.from)) {
      let row = rows.find(each => each.kind === fault.kind && each.until <= fault.from);
      if (!row) rows.push(row = { kind: fault.kind, until: 0, faults: [] });
      row.faults.push(fault); row.until = fault.until;
    }
    return rows;
  })();
  /** Name a band's rows in its gutter, one line a row. */
  function gutterNames(id, names, height, top) {
    const gutter = $(id).previousElementSibling;
    gutter.replaceChildren(...names.map((name, at) => { const line = el('span', {}, name); line.style.height = height + 'px'; if (!at) line.style.marginTop = top + 'px'; return line; }));
  }
  function block(pen, fault, y, height) {
    const left = x(fault.from), right = Math.max(left + 2, x(fault.until));
    if (right < 0 || left > width) return;
    pen.globalAlpha = 0.14; pen.fillStyle = hue(fault.kind); pen.fillRect(left, y, right - left, height);
    pen.globalAlpha = fault.kind === 'kill' ? 0.35 : 0.55; pen.fillStyle = hatches[KINDS.includes(fault.kind) ? fault.kind : 'other']; pen.fillRect(left, y, right - left, height);
    pen.globalAlpha = 1; pen.strokeStyle = hue(fault.kind); pen.strokeRect(left + 0.5, y + 0.5, right - left - 1, height - 1);
    const label = [fault.detail, fault.targets.join(' ')].find(text => text && pen.measureText(text).width + 14 < Math.min(right, width) - Math.max(0, left));
    if (label) {
      const from = Math.max(0, left) + 4;
      pen.fillStyle = ink.page; pen.globalAlpha = 0.86; pen.fillRect(from, y + 2, pen.measureText(label).width + 6, height - 4);
      pen.globalAlpha = 1; pen.fillStyle = ink.ink; pen.textAlign = 'left'; pen.fillText(label, from + 3, y + height / 2 + 0.5);
    }
  }
  function drawFaults() {
    const pen = sheet('band-faults', Math.max(18, faultRows.length * 19 + 5));
    faultRows.forEach((row, at) => row.faults.forEach(fault => block(pen, fault, 4 + at * 19, 17)));
    if (!timeline.faults.length) { pen.fillStyle = ink.faint; pen.textAlign = 'left'; pen.fillText('none', 2, 10); }
  }
  /** Shade what lies under a fault, faintly, in every band. */
  function shade(pen, height) {
    pen.globalAlpha = 0.08;
    for (const fault of timeline.faults) { pen.fillStyle = hue(fault.kind); pen.fillRect(x(fault.from), 0, x(fault.until) - x(fault.from), height); }
    pen.globalAlpha = 1;
  }

  const nodes = Object.keys(timeline.roles);
  function drawRoles() {
    const pen = sheet('band-roles', nodes.length * 16 + 6);
    pen.textAlign = 'left';
    nodes.forEach((node, row) => {
      const y = 4 + row * 16;
      for (const [from, until, role, term] of timeline.roles[node]) {
        const left = Math.max(-2, x(from)), right = Math.min(width + 2, x(until));
        if (right < 0 || left > width) continue;
        const wide = Math.max(1, right - left);
        if (role === 'leader') {
          pen.fillStyle = ink.lead; pen.fillRect(left, y, wide, 13);
          const label = [`leads term ${term}`, `term ${term}`, `${term}`].find(text => pen.measureText(text).width + 8 < wide);
          if (label) { pen.fillStyle = ink['lead-text']; pen.fillText(label, Math.max(0, left) + 4, y + 7); }
        } else if (!role) {
          pen.strokeStyle = ink.faint; pen.setLineDash([2, 4]); pen.beginPath(); pen.moveTo(left, y + 6.5); pen.lineTo(left + wide, y + 6.5); pen.stroke(); pen.setLineDash([]);
        } else {
const tall = role.includes('candidate') ? 5 : 1;
          pen.fillStyle = tall > 1 ? ink.info : ink.firm; pen.fillRect(left, y + (13 - tall >> 1), wide, tall);
        }
      }
    });
    if (!nodes.length) { pen.fillStyle = ink.faint; pen.fillText('not observed', 2, 8); }
  }

  const rate = timeline.rate;
  /** Completions a second, in steps of whole buckets no narrower than 3 px. */
  function buckets(from, to, room) {
    const per = Math.max(1, Math.ceil((to - from) / rate.bucket / room)), made = [];
    for (let at = Math.floor(from / rate.bucket / per) * per; at * rate.bucket < to && at < rate.ok.length; at += per) {
      const row = { at: at * rate.bucket, until: (at + per) * rate.bucket, ok: 0, info: 0, fail: 0 };
      for (let i = Math.max(0, at); i < at + per && i < rate.ok.length; i++) for (const name of OUTCOMES) row[name] += rate[name][i];
      for (const name of OUTCOMES) row[name] *= 1e6 / (per * rate.bucket);
      made.push(row);
    }
    return made;
  }
  function stairs(pen, rows, name, top, height, place) {
    pen.beginPath();
    pen.moveTo(place(rows[0].at), height);
    for (const row of rows) { const y = height - Math.min(1, row[name] / top) * (height - 13); pen.lineTo(place(row.at), y); pen.lineTo(place(row.until), y); }
    pen.lineTo(place(rows[rows.length - 1].until), height);
  }
  function drawRate() {
    const height = 84, pen = sheet('band-rate', height), rows = buckets(view.from, view.to, width / 3);
    shade(pen, height);
    if (!rows.length) return;
    // A burst (the final reads) may stand far above the rest: it is cut, and marked as cut.
    const tops = rows.map(row => Math.max(row.ok, row.info, row.fail)).sort((a, b) => a - b), high = tops[tops.length - 1];
    const peak = Math.max(1, Math.min(high, tops[Math.floor(tops.length * 0.97)] * 1.6 || high)), step = steps(peak, 2.5);
    pen.fillStyle = ink.ok; pen.globalAlpha = 0.25; stairs(pen, rows, 'ok', peak, height, x); pen.fill(); pen.globalAlpha = 1;
    for (const [name, dash] of [['ok', []], ['fail', []], ['info', [3, 2]]]) { pen.strokeStyle = ink[name]; pen.lineWidth = 1.3; pen.setLineDash(dash); stairs(pen, rows, name, peak, height + 1, x); pen.stroke(); }
    pen.setLineDash([]); pen.lineWidth = 1;
    pen.textAlign = 'center'; pen.fillStyle = ink.soft;
    let named = -99;
    for (const row of rows) { const top = Math.max(row.ok, row.info, row.fail), px = x((row.at + row.until) / 2); if (top > peak * 1.01 && px - named > 50) { pen.fillText('▲ ' + commas(Math.round(top)), clamp(px, 30, width - 30), 6); named = px; } }
    for (let at = step; at <= peak; at += step) rule(pen, height - at / peak * (height - 13), commas(at) + '/s');
  }
  function rule(pen, y, label) {
    pen.fillStyle = ink.faint; pen.globalAlpha = 0.28; pen.fillRect(0, Math.round(y), width, 1); pen.globalAlpha = 1;
    pen.textAlign = 'left';
    const wide = pen.measureText(label).width;
    pen.fillStyle = ink.page; pen.globalAlpha = 0.75; pen.fillRect(0, y - 7, wide + 5, 14); pen.globalAlpha = 1;
    pen.fillStyle = ink.soft; pen.fillText(label, 2, y);
  }

  // latency: one point an operation, log scale, the rarer outcome on top
  const HEIGHT = 190;
  const scaleY = (() => {
    let low = Infinity, high = 1;
    for (let i = 0; i < ops.n; i++) { low = Math.min(low, ops.length[i]); high = Math.max(high, ops.length[i]); }
    const bottom = Math.log10(Math.max(10, Math.min(low, high))), top = Math.log10(high * 1.25);
    return { bottom, top, y: length => HEIGHT - 8 - (Math.log10(Math.max(length, 10)) - bottom) / Math.max(0.1, top - bottom) * (HEIGHT - 20) };
  })();
  /** Visible operations: [from, to) of the columns. */
  const shown = () => [firstAt(ops.start, view.from - ops.longest), firstAt(ops.start, view.to + 1)];
  function rgb(text) {
    const pen = el('canvas', { width: 1, height: 1 }).getContext('2d');
    pen.fillStyle = text; pen.fillRect(0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data;
  }
  function drawLatency() {
    const pen = sheet('band-latency', HEIGHT), scale = devicePixelRatio || 1;
    const from = firstAt(ops.start, view.from), to = firstAt(ops.start, view.to + 1);
    shade(pen, HEIGHT);
    if (to - from > 2500) {
      const layer = new ImageData(pen.canvas.width, pen.canvas.height), pixels = new Uint32Array(layer.data.buffer);
      const size = Math.max(1, Math.round(scale * 1.5));
      const paints = OUTCOMES.map(name => { const [r, g, b] = rgb(ink[name]); return (225 << 24 | b << 16 | g << 8 | r) >>> 0; });
      // Answers and failures in order of time, so that density is drawn fairly; unknown ones on top.
      for (const last of [false, true]) for (let i = from; i < to; i++) if ((ops.outcome[i] === 1) === last) {
        const px = x(ops.start[i]) * scale | 0, py = scaleY.y(ops.length[i]) * scale | 0, grow = last ? size + 1 : size;
        for (let dy = 0; dy < grow; dy++) for (let dx = 0; dx < grow; dx++) if (px + dx < layer.width && py + dy < layer.height) pixels[(py + dy) * layer.width + px + dx] = paints[ops.outcome[i]];
      }
      const points = el('canvas', { width: layer.width, height: layer.height });
      points.getContext('2d').putImageData(layer, 0, 0);
      pen.drawImage(points, 0, 0, width, HEIGHT);
    } else for (let i = from; i < to; i++) glyph(pen, x(ops.start[i]), scaleY.y(ops.length[i]), ops.outcome[i], to - from > 600 ? 2 : 3);
    for (let power = Math.ceil(scaleY.bottom); power <= scaleY.top; power++) rule(pen, scaleY.y(10 ** power), length(10 ** power));
    quantiles(pen, from, to);
    for (const i of wrongAt) diamond(pen, x(ops.start[i]), scaleY.y(ops.length[i]), 5);
    for (const i of [pinned, hover]) if (i >= 0) ring(pen, x(ops.start[i]), scaleY.y(ops.length[i]));
  }
  function glyph(pen, px, py, outcome, size) {
    pen.beginPath(); pen.arc(px, py, size, 0, 7);
    pen.fillStyle = pen.strokeStyle = ink[OUTCOMES[outcome]];
    if (outcome === 0) pen.fill();
    else { pen.lineWidth = 1.4; pen.stroke(); pen.lineWidth = 1; if (outcome === 1) { pen.beginPath(); pen.arc(px, py, size, Math.PI / 2, 3 * Math.PI / 2); pen.fill(); } }
  }
  function diamond(pen, px, py, size) {
    pen.beginPath(); pen.moveTo(px, py - size); pen.lineTo(px + size, py); pen.lineTo(px, py + size); pen.lineTo(px - size, py); pen.closePath();
    pen.fillStyle = ink.anomaly; pen.fill(); pen.strokeStyle = ink.page; pen.stroke();
  }
  function ring(pen, px, py) { pen.beginPath(); pen.arc(px, py, 7, 0, 7); pen.strokeStyle = ink.ink; pen.lineWidth = 2; pen.stroke(); pen.lineWidth = 1; }
  function quantiles(pen, from, to) {
    if (to - from < 400) return;
    const columns = clamp(Math.floor(width / 14), 1, Math.max(1, Math.floor((to - from) / 50)));
    const bins = Array.from({ length: columns }, () => []);
    for (let i = from; i < to; i++) if (ops.outcome[i] === 0) bins[clamp(Math.floor(x(ops.start[i]) / width * columns), 0, columns - 1)].push(ops.length[i]);
    bins.forEach(bin => bin.sort((a, b) => a - b));
    for (const [share, thick] of [[0.5, 1.8], [0.99, 1]]) {
      pen.beginPath(); pen.strokeStyle = ink.ink; pen.lineWidth = thick; pen.globalAlpha = 0.75;
      let last = null, tip = null;
      bins.forEach((bin, at) => {
        if (bin.length < 20) { last = null; return; }
        const px = (at + 0.5) / columns * width, py = scaleY.y(bin[Math.min(bin.length - 1, Math.floor(share * bin.length))]);
        if (last === null) pen.moveTo(px, py); else pen.lineTo(px, py);
        last = py; tip = [px, py];
      });
      pen.stroke(); pen.globalAlpha = 1; pen.lineWidth = 1;
      if (tip) { pen.textAlign = 'left'; pen.lineWidth = 3; pen.strokeStyle = ink.page; const at = [Math.min(width - 26, tip[0] + 4), tip[1] + (share > 0.5 ? -8 : 8)]; pen.strokeText('p' + share * 100, ...at); pen.fillStyle = ink.ink; pen.fillText('p' + share * 100, ...at); pen.lineWidth = 1; }
    }
  }

  // clients: bars where an operation is 2 px wide, density where it is not
  const laneHeight = clamp(Math.floor(330 / Math.max(1, timeline.lanes)), 3, 16);
  function drawLanes() {
    const height = Math.max(16, timeline.lanes * laneHeight + 4), pen = sheet('band-lanes', height);
    shade(pen, height);
    const [from, to] = shown(), wide = Math.ceil(width), thick = Math.max(2, laneHeight - 3);
    const cells = OUTCOMES.map(() => new Uint16Array(wide * timeline.lanes)), bars = [[], [], []];
    for (let i = from; i < to; i++) {
      if (ops.end[i] < view.from) continue;
      const left = x(ops.start[i]), right = x(ops.end[i]), row = timeline.seats[ops.process[i]], outcome = ops.outcome[i];
      if (right - left >= 2) { bars[outcome].push(i); continue; }
      cells[outcome][row * wide + clamp(left | 0, 0, wide - 1)]++;
    }
    for (let row = 0; row < timeline.lanes; row++) for (let px = 0; px < wide; px++) {
      const at = row * wide + px, total = cells[0][at] + cells[1][at] + cells[2][at];
      if (!total) continue;
      let y = 3 + row * laneHeight;
      pen.globalAlpha = clamp(0.3 + total * 0.2, 0, 0.9);
      // From the top: unknown, ok, failed, by their share; what is rare keeps at least a tick.
      const ticks = [1, 2].map(outcome => cells[outcome][at] && Math.max(2, Math.round(thick * cells[outcome][at] / total)));
      const parts = [['info', ticks[0]], ['ok', cells[0][at] ? Math.max(1, thick - ticks[0] - ticks[1]) : 0], ['fail', ticks[1]]];
      for (const [name, tall] of parts) if (tall) { pen.fillStyle = ink[name]; pen.fillRect(px, y, 1, tall); y += tall; }
    }
    pen.globalAlpha = 1;
    for (const outcome of [0, 2, 1]) {
      const path = new Path2D();
      for (const i of bars[outcome]) {
        const left = x(ops.start[i]), right = x(ops.end[i]), y = 3 + timeline.seats[ops.process[i]] * laneHeight;
        if (outcome === 1) { path.rect(left, y + thick / 2 - 0.75, right - left, 1.5); path.rect(left, y, 1.5, thick); }
        else if (outcome === 2) path.rect(left + 0.5, y + 0.5, Math.max(1, right - left - 1), thick - 1);
        else path.rect(left, y, Math.max(1, right - left - 0.6), thick);
      }
      pen.fillStyle = pen.strokeStyle = ink[OUTCOMES[outcome]];
      pen.globalAlpha = outcome === 0 ? 0.75 : 1;
      if (outcome === 2) pen.stroke(path); else pen.fill(path);
      pen.globalAlpha = 1;
    }
    if (laneHeight >= 13) { pen.textAlign = 'left'; pen.font = '10px system-ui, sans-serif'; for (const i of bars[0]) label(pen, i, thick); }
    for (const i of wrongAt) {
      const left = x(ops.start[i]), y = 3 + timeline.seats[ops.process[i]] * laneHeight, right = x(ops.end[i]);
      pen.strokeStyle = ink.anomaly; pen.lineWidth = 2; pen.strokeRect(left - 1, y - 1, Math.max(3, right - left + 2), thick + 2); pen.lineWidth = 1;
      if (right - left < 12) diamond(pen, left, y + thick / 2, 5);
    }
    for (const i of [pinned, hover]) if (i >= 0) { pen.strokeStyle = ink.ink; pen.lineWidth = 1.5; pen.strokeRect(x(ops.start[i]) - 2, 1 + timeline.seats[ops.process[i]] * laneHeight, Math.max(4, x(ops.end[i]) - x(ops.start[i]) + 4), thick + 4); pen.lineWidth = 1; }
  }
  function label(pen, i, thick) {
    const left = Math.max(0, x(ops.start[i])), room = Math.min(width, x(ops.end[i])) - left;
    if (room < 34) return;
    const text = [`${what(i)}  ${ops.keys[ops.key[i]]}`, what(i)].find(each => pen.measureText(each).width + 6 < room);
    if (text) { pen.fillStyle = ink.page; pen.fillText(text, left + 3, 3 + timeline.seats[ops.process[i]] * laneHeight + thick / 2 + 0.5); }
  }

  function drawMinimap() {
    const height = 34, pen = sheet('minimap', height), all = px => px / end * width, rows = buckets(0, end, width / 2);
    for (const fault of timeline.faults) { pen.globalAlpha = 0.22; pen.fillStyle = hue(fault.kind); pen.fillRect(all(fault.from), 0, Math.max(1, all(fault.until) - all(fault.from)), height - 8); pen.globalAlpha = 1; }
    if (rows.length) { pen.fillStyle = ink.ok; pen.globalAlpha = 0.6; stairs(pen, rows, 'ok', Math.max(1, ...rows.map(row => row.ok)), height - 8, all); pen.fill(); pen.globalAlpha = 1; }
    const left = all(view.from), right = all(view.to);
    pen.fillStyle = ink.page; pen.globalAlpha = 0.72; pen.fillRect(0, 0, left, height - 8); pen.fillRect(right, 0, width - right, height - 8); pen.globalAlpha = 1;
    pen.strokeStyle = ink.ink; pen.strokeRect(left + 0.5, 0.5, Math.max(2, right - left - 1), height - 9);
    for (const each of timeline.anomalies) diamond(pen, clamp(all(each.until), 5, width - 5), height - 6, 5);
  }

  let queued = false;
  function redraw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; draw(); });
  }
  function draw() {
    width = stage.clientWidth - gutter();
    if (width <= 0) return;
    drawMinimap(); drawAxis(); drawFaults(); drawRoles(); drawRate(); drawLatency(); drawLanes(); overlay();
    const span = chosen || view;
    $('span').textContent = `${chosen ? 'selected' : 'shown'} ${seconds(span.from)} – ${seconds(span.to)}  (${length(span.to - span.from)})`;
  }
  const gutter = () => $('minimap').offsetLeft;
  function overlay() {
    const box = $('selection');
    box.hidden = !chosen || chosen.to < view.from || chosen.from > view.to;
    if (box.hidden) return;
    const left = clamp(x(chosen.from), 0, width), right = clamp(x(chosen.to), 0, width);
    box.style.left = gutter() + left + 'px';
    box.style.width = Math.max(1, right - left) + 'px';
  }

  // ---- moving and choosing ----

  function look(from, to) {
    const span = clamp(to - from, MIN_SPAN, end);
    view.from = clamp(from, 0, end - span);
    view.to = view.from + span;
    redraw();
  }
  function zoom(by, at = (view.from + view.to) / 2) { look(at - (at - view.from) * by, at + (view.to - at) * by); }
  function move(share) { const span = view.to - view.from; look(view.from + share * span, view.to + share * span); }
  function choose(from, to) { chosen = from === null ? null : { from: clamp(Math.min(from, to), 0, end), to: clamp(Math.max(from, to), 0, end) }; list(); redraw(); remember(); }
  function pin(i, { scroll = false, show = false } = {}) {
    pinned = i;
    detail();
    if (i >= 0 && show && (ops.start[i] < view.from || ops.end[i] > view.to)) { const around = clamp(ops.length[i] * 6, 2e5, 4e6); look(ops.start[i] - around, ops.start[i] + around); }
    if (i >= 0 && scroll) reveal(i);
    rows(); redraw(); remember();
  }
  function nextAnomaly(step) {
    const all = document.querySelectorAll('[data-anomaly]');
    if (!all.length) return;
    anomalyAt = (anomalyAt + step - 1 + all.length) % all.length + 1;
    location.hash = '#anomaly=' + anomalyAt;
  }
  const actions = {
    fit: () => look(0, end), in: () => zoom(0.6), out: () => zoom(1 / 0.6), zoom: () => chosen && look(chosen.from, chosen.to),
    clear: () => { if (pinned >= 0) pin(-1); else choose(null); },
    next: () => { const each = timeline.anomalies[nextShown++ % timeline.anomalies.length]; if (each) { const margin = Math.max(1e5, (each.until - each.from) / 3); look(each.from - margin, each.until + margin); } },
  };
  let nextShown = 0;
  document.querySelectorAll('[data-do]').forEach(button => button.addEventListener('click', () => actions[button.dataset.do]()));

  const near = (px, canvas, py) => {
    const [from, to] = shown(), slack = us(6) - us(0);
    let best = -1, least = 64;
    if (canvas === 'band-latency') {
      for (let i = firstAt(ops.start, us(px) - slack); i < to && ops.start[i] <= us(px) + slack; i++) {
        const far = (x(ops.start[i]) - px) ** 2 + (scaleY.y(ops.length[i]) - py) ** 2 - (wrong.has(ops.index[i]) ? 30 : 0);
        if (far < least) { least = far; best = i; }
      }
    } else if (canvas === 'band-lanes') {
      const seat = Math.floor((py - 2) / laneHeight);
      for (let i = from; i < to; i++) if (timeline.seats[ops.process[i]] === seat && ops.start[i] <= us(px + 2) && ops.end[i] >= us(px - 2)) { best = i; if (wrong.has(ops.index[i])) break; }
    }
    return best;
  };
  function explain(canvas, px, py) {
    const at = us(px);
    if (canvas === 'band-faults') {
      const row = faultRows[Math.floor((py - 4) / 19)], fault = row && row.faults.find(each => each.from <= at && at <= each.until);
      return fault ? `${fault.id}: ${fault.kind}\n${fault.detail || fault.targets.join(' ')}\n${seconds(fault.from)} – ${seconds(fault.until)}` : '';
    }
    if (canvas === 'band-roles') {
      const node = nodes[Math.floor((py - 3) / 16)], found = node && timeline.roles[node].find(each => each[0] <= at && at < each[1]);
      return found ? `${node}: ${found[2] || 'did not answer'}${found[3] ? ', term ' + found[3] : ''}\n${seconds(found[0])} – ${seconds(found[1])}` : '';
    }
    if (canvas === 'band-rate') {
      const row = buckets(view.from, view.to, width / 3).find(each => each.at <= at && at < each.until);
      return row ? `${seconds(row.at)}\nok ${commas(Math.round(row.ok))}/s  info ${commas(Math.round(row.info))}/s  fail ${commas(Math.round(row.fail))}/s` : '';
    }
    return '';
  }
  let drag = null;
  function locate(event) {
    const box = stage.getBoundingClientRect();
    return { px: clamp(event.clientX - box.left - gutter(), 0, width), py: event.offsetY, canvas: event.target.id, y: event.clientY - box.top };
  }
  stage.addEventListener('pointerdown', event => {
    if (event.button || event.target.tagName !== 'CANVAS') return;
    drag = locate(event);
    drag.moved = false;
    event.target.setPointerCapture(event.pointerId);
  });
  stage.addEventListener('pointermove', event => {
    const spot = locate(event);
    if (drag) {
      drag.moved = drag.moved || Math.abs(spot.px - drag.px) > 4;
      if (drag.moved && drag.canvas === 'minimap') look(Math.min(drag.px, spot.px) / width * end, Math.max(drag.px, spot.px) / width * end);
      else if (drag.moved) { chosen = { from: us(Math.min(drag.px, spot.px)), to: us(Math.max(drag.px, spot.px)) }; redraw(); }
      return;
    }
    if (event.target.tagName !== 'CANVAS') return;
    const found = near(spot.px, spot.canvas, spot.py), said = found >= 0 ? brief(found) : explain(spot.canvas, spot.px, spot.py);
    if (found !== hover) { hover = found; redraw(); }
    const cross = $('cross'), tip = $('tip');
    cross.hidden = spot.canvas === 'minimap';
    cross.style.left = gutter() + spot.px + 'px';
    tip.hidden = !said;
    tip.textContent = said;
    tip.style.left = Math.min(gutter() + spot.px + 14, stage.clientWidth - tip.offsetWidth - 2) + 'px';
    tip.style.top = Math.max(0, spot.y - tip.offsetHeight - 10) + 'px';
  });
  stage.addEventListener('pointerleave', () => { $('cross').hidden = $('tip').hidden = true; if (hover >= 0) { hover = -1; redraw(); } });
  stage.addEventListener('pointerup', event => {
    if (!drag) return;
    const spot = locate(event), was = drag;
    drag = null;
    if (was.moved) { if (was.canvas !== 'minimap') choose(us(was.px), us(spot.px)); return; }
    if (was.canvas === 'minimap') { const half = (view.to - view.from) / 2, at = spot.px / width * end; look(at - half, at + half); return; }
    const found = near(was.px, was.canvas, was.py);
    if (found >= 0) pin(found, { scroll: true }); else if (chosen) choose(null);
  });
  stage.addEventListener('pointercancel', () => { drag = null; });
  stage.addEventListener('dblclick', event => { if (chosen) look(chosen.from, chosen.to); else zoom(0.35, us(locate(event).px)); });
  stage.addEventListener('wheel', event => {
    const focused = document.activeElement === stage;
    if (event.shiftKey || (focused && Math.abs(event.deltaX) > Math.abs(event.deltaY))) { event.preventDefault(); move((event.deltaX || event.deltaY) / 1000); }
    else if (event.ctrlKey || event.metaKey || focused) { event.preventDefault(); zoom(Math.exp(clamp(event.deltaY, -120, 120) / 300), us(locate(event).px)); }
  }, { passive: false });

  // ---- the table ----

  let matched = new Uint32Array(0), filters = [];
  const box = $('rows'), body = $('ops-body'), input = $('filter');
  function compile(text) {
    return text.trim().split(/\s+/).filter(Boolean).map(word => {
      const not = word.startsWith('!'), rest = not ? word.slice(1) : word, [, name, value] = /^(\w+):(.*)$/.exec(rest) || [];
      const table = { key: [ops.keys, ops.key], node: [ops.nodes, ops.node], f: [ops.kinds, ops.f] }[name];
      let test;
      if (table) { const at = table[0].indexOf(value); test = i => at >= 0 && table[1][i] === at; }
      else if (name === 'type') { const at = OUTCOMES.indexOf(value); test = i => ops.outcome[i] === at; }
      else if (name === 'p') test = i => who(i) === value || String(timeline.processes[ops.process[i]]) === value.replace(/^p/, '');
      else if (name === 'op') test = i => String(ops.index[i]) === value;
      else { const low = rest.toLowerCase(); test = i => what(i).toLowerCase().includes(low) || ops.errors[ops.error[i]].toLowerCase().includes(low) || ops.keys[ops.key[i]].toLowerCase() === low; }
      return not ? i => !test(i) : test;
    });
  }
  function list() {
    const found = [];
    const from = chosen ? firstAt(ops.start, chosen.from - ops.longest) : 0, to = chosen ? firstAt(ops.start, chosen.to + 1) : ops.n;
    for (let i = from; i < to; i++) if ((!chosen || ops.end[i] >= chosen.from) && filters.every(test => test(i))) found.push(i);
    matched = Uint32Array.from(found);
    $('matched').textContent = `${commas(matched.length)} of ${commas(ops.n)}${chosen ? ` in ${seconds(chosen.from)} – ${seconds(chosen.to)}` : ''}`;
    box.scrollTop = 0;
    rows();
  }
  function rows() {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 6), last = Math.min(matched.length, first + Math.ceil(box.clientHeight / ROW) + 14);
    const made = [pad(first)];
    for (let at = first; at < last; at++) made.push(row(matched[at]));
    made.push(pad(matched.length - last));
    body.replaceChildren(...made);
  }
  function pad(n) { const cell = el('td', { colspan: 9 }); cell.style.height = n * ROW + 'px'; const made = el('tr', { class: 'pad', 'aria-hidden': 'true' }, cell); made.hidden = !n; return made; }
  function row(i) {
    const outcome = el('span', { class: 'outcome ' + OUTCOMES[ops.outcome[i]] }, el('span', {}, GLYPHS[ops.outcome[i]]), ' ' + OUTCOMES[ops.outcome[i]]);
    const made = el('tr', { class: (i === pinned ? 'pinned ' : '') + (wrong.has(ops.index[i]) ? 'wrong' : '') },
      el('td', { class: 'n' }, (wrong.has(ops.index[i]) ? '◆ ' : '') + commas(ops.index[i])), el('td', { class: 'n' }, seconds(ops.start[i])), el('td', {}, who(i)), el('td', {}, ops.nodes[ops.node[i]]),
      el('td', {}, ops.keys[ops.key[i]]), el('td', {}, el('code', {}, what(i))), el('td', {}, outcome), el('td', { class: 'n' }, took(i)), el('td', { class: 'soft', title: ops.errors[ops.error[i]] }, ops.errors[ops.error[i]]));
    made.addEventListener('click', () => pin(i, { show: true }));
    return made;
  }
  function reveal(i) {
    const at = firstAt(matched, i);
    if (matched[at] === i) box.scrollTop = Math.max(0, (at - 6) * ROW);
  }
  box.addEventListener('scroll', () => requestAnimationFrame(rows), { passive: true });
  input.addEventListener('input', () => { filters = compile(input.value); list(); remember(); });
  function stepRow(by) {
    if (!matched.length) return;
    const at = pinned < 0 ? 0 : clamp(firstAt(matched, pinned) + by, 0, matched.length - 1);
    pin(matched[at], { scroll: true });
  }
  function setFilter(text) { input.value = text; filters = compile(text); list(); }

  function detail() {
    const pane = $('pinned');
    if (pinned < 0) { pane.replaceChildren(el('p', { class: 'faint' }, 'Click an operation to see what surrounded it.')); return; }
    const i = pinned, key = ops.key[i], onKey = [], beside = [];
    let before = -1, after = -1;
    for (let at = 0; at < ops.n; at++) {
      if (at === i || ops.key[at] !== key) continue;
      const touches = ops.start[at] <= ops.end[i] && (ops.end[at] >= ops.start[i] || ops.outcome[at] === 1);
      if (touches) { if (ops.outcome[at] !== 1 || ops.end[at] >= ops.start[i]) beside.push(at); else onKey.push(at); }
      else if (ops.start[at] < ops.start[i]) before = at;
      else if (after < 0) after = at;
    }
    const wall = Date.parse(timeline.started);
    const facts = [['invoked', seconds(ops.start[i])], [['answered', 'stopped waiting', 'failed'][ops.outcome[i]], `${seconds(ops.end[i])} (${took(i)})`], ['by', `${who(i)} through ${ops.nodes[ops.node[i]] || 'no node'}`], ['called itself leader then', leaderAt(ops.start[i])]];
    if (!Number.isNaN(wall)) facts.push(['wall time', new Date(wall + ops.start[i] / 1000).toISOString()]);
    if (ops.error[i]) facts.push(['error', ops.errors[ops.error[i]]]);
    const hit = timeline.faults.filter(fault => fault.from <= ops.end[i] && fault.until >= ops.start[i]);
    if (hit.length) facts.push(['faults', hit.map(fault => `${fault.id} (${fault.targets.join(' ')})`).join(', ')]);
    const dl = el('dl', { class: 'facts' }, ...facts.map(([name, text]) => el('div', {}, el('dt', {}, name), el('dd', {}, text))));
    const link = at => el('li', {}, el('a', { href: '#op=' + ops.index[at] }, `${GLYPHS[ops.outcome[at]]} ${what(at)}`), el('span', { class: 'faint' }, `  ${who(at)} ${seconds(ops.start[at])}`));
    const group = (title, found) => found.length ? [el('h4', {}, title), el('ul', {}, ...found.slice(0, 12).map(link), ...(found.length > 12 ? [el('li', { class: 'faint' }, `and ${commas(found.length - 12)} more`)] : []))] : [];
    const name = ops.keys[key] ? `on ${ops.keys[key]}` : 'without a key';
    const text = el('button', { type: 'button', 'data-text': brief(i) }, 'Copy'), only = el('button', { type: 'button' }, `Only ${ops.keys[key] || 'this kind'}`);
    only.addEventListener('click', () => { setFilter(ops.keys[key] ? 'key:' + ops.keys[key] : 'f:' + ops.kinds[ops.f[i]]); reveal(i); remember(); });
    pane.replaceChildren(el('h3', {}, `${GLYPHS[ops.outcome[i]]} ${what(i)}`), el('p', { class: 'faint' }, `op ${commas(ops.index[i])} ${name}`), dl, el('p', { class: 'actions' }, text, only),
      ...group(`Before it ${name}`, before >= 0 ? [before] : []), ...group(`Concurrent ${name}`, beside), ...group(`Still open ${name}`, onKey), ...group(`After it ${name}`, after >= 0 ? [after] : []));
  }

  // ---- links ----

  let quiet = false;
  function remember() {
    if (quiet) return;
    const parts = [];
    if (pinned >= 0) parts.push('op=' + ops.index[pinned]);
    if (chosen) parts.push(`t=${(chosen.from / 1e6).toFixed(3)}-${(chosen.to / 1e6).toFixed(3)}`);
    if (input.value.trim()) parts.push('q=' + encodeURIComponent(input.value.trim()));
    history.replaceState(null, '', parts.length ? '#' + parts.join('&') : location.pathname + location.search);
  }
  function follow() {
    const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    quiet = true;
    if (wanted.anomaly) {
      const card = document.getElementById('anomaly-' + wanted.anomaly);
      document.querySelectorAll('.card.target').forEach(each => each.classList.remove('target'));
      if (card) { anomalyAt = Number(wanted.anomaly); card.classList.add('target'); card.scrollIntoView({ block: 'start', behavior: 'instant' }); }
    }
    if (wanted.key !== undefined || wanted.q !== undefined) setFilter(wanted.q !== undefined ? wanted.q : 'key:' + wanted.key);
    if (wanted.t) {
      const [from, to] = wanted.t.split('-').map(text => parseFloat(text) * 1e6), margin = Math.max((to - from) * 0.08, 1e4);
      if (to > from) { choose(from, to); look(from - margin, to + margin); }
    }
    if (wanted.op) {
      const at = firstAt(ops.index, Number(wanted.op));
      if (ops.index[at] === Number(wanted.op)) {
        const listed = firstAt(matched, at);
        if (matched[listed] !== at) { chosen = null; setFilter(''); }
        pin(at, { scroll: true, show: true });
      }
    }
    if (wanted.op || wanted.t) $(wanted.op && !wanted.t ? 'operations' : 'run').scrollIntoView({ block: 'start', behavior: 'instant' });
    quiet = false;
  }
  addEventListener('hashchange', follow);

  // ---- keys ----

  const help = $('help');
  $('keys').addEventListener('click', () => help.showModal());
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.matches('input, textarea')) { if (event.key === 'Escape') event.target.blur(); return; }
    const on = document.activeElement === stage, key = event.key;
    const known = { '?': () => help.showModal(), n: () => nextAnomaly(1), p: () => nextAnomaly(-1), a: () => move(-0.25), d: () => move(0.25), w: () => zoom(0.6), s: () => zoom(1 / 0.6), 0: actions.fit, z: actions.zoom, j: () => stepRow(1), k: () => stepRow(-1), t: () => $('theme').click(), '/': () => { input.focus(); }, Escape: actions.clear };
    const arrows = { ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), ArrowUp: () => zoom(0.6), ArrowDown: () => zoom(1 / 0.6) };
    const act = known[key] || (on && arrows[key]) || (document.activeElement === box && { ArrowDown: known.j, ArrowUp: known.k }[key]);
    if (act) { event.preventDefault(); act(); }
  });

  document.addEventListener('themed', () => { mix(); redraw(); });
  new ResizeObserver(() => { draw(); rows(); }).observe(stage);
  if (faultRows.length) gutterNames('band-faults', faultRows.map((row, at) => at && faultRows[at - 1].kind === row.kind ? '' : row.kind), 19, 4);
  if (nodes.length) gutterNames('band-roles', nodes, 16, 2);
  mix();
  list();
  draw();
  follow();
  root.dataset.ready = String(Math.round(performance.now()));
}
