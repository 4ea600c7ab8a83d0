"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const bytes = coded => Uint8Array.from(atob(coded), c => c.charCodeAt(0));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

/* Time */

const clock = t => `${Math.floor(t / 60)}:${(t % 60).toFixed(1).padStart(4, "0")}`;
/* Index of the last entry that begins at or before t; −1: none does. */
const last = (entries, t, time = e => e) => {
  let low = 0, high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time(entries[middle]) <= t + 1e-6) low = middle + 1; else high = middle;
  }
  return low - 1;
};
const start = e => e[0];
const where = t => {
  const n = last(data.bars, t, start);
  if (n < 0) return clock(t);
  const beat = last(data.beats, t) - last(data.beats, data.bars[n][0]) + 1;
  if (data.bars[n][1] < 1) return `count-in · ${clock(t)}`;
  return `bar ${data.bars[n][1]}${data.beats.length ? "." + beat : ""} · ${clock(t)}`;
};

/* The page's texts */

const folder = () => {
  try { return decodeURIComponent(location.pathname).split("/").at(-2) || ""; } catch { return ""; }
};
if (folder()) {
  $("title").textContent = folder();
  document.title = `${folder()} · Sideman`;
}
const given = Object.fromEntries(data.given);
$("summary").textContent =
  [given.Tempo, given.Meter, given.Key && `key ${given.Key}`, clock(data.seconds)].filter(Boolean).join(" · ");
const list = (title, ...content) => {
  const section = make("section");
  section.append(make("h2", "", title), ...content);
  $("lists").append(section);
};
if (data.given.length) {
  const dl = make("dl");
  for (const [name, value] of data.given) dl.append(make("dt", "", name), make("dd", "", value));
  list("What the model was given", dl);
}
if (data.events?.length) {
  const ol = make("ol");
  for (const [t, text] of data.events) {
    const li = make("li"), button = make("button", "", where(t));
    button.type = "button";
    button.onclick = () => seek(t);
    li.append(button, make("span", "", text));
    ol.append(li);
  }
  list("Events", ol);
}
$("footer").append("Files: ");
for (const name of ["mix.wav", ...data.stems.map(s => s.file), ...data.files]) {
  const a = make("a", "", name);
  a.href = encodeURIComponent(name);
  $("footer").append(a, " ");
}
$("footer").append(`· made by Sideman ${data.version}`);

/* Playback. All files play at once, and those that are not to be heard are muted: so a switch is heard at once. */

const player = file => {
  const audio = make("audio");
  audio.src = encodeURIComponent(file);
  audio.preload = data.seconds > 900 ? "metadata" : "auto";
  audio.preservesPitch = false;
  audio.dataset.file = file;
  audio.onerror = () => problem(`The browser can't play ${file}: ${audio.error?.message || "it is not beside this page"}.`);
  document.body.append(audio);
  return audio;
};
const problem = text => {
  $("problem").textContent = text;
  $("problem").hidden = false;
};
const mix = player("mix.wav");
const stems = data.stems.map(stem => ({ ...stem, audio: player(stem.file), muted: false, solo: false }));
const players = [mix, ...stems.map(s => s.audio)];
let playing = false, region = null, looping = false;
const position = () => Math.min(mix.currentTime, data.seconds);
const heard = stem => stems.some(s => s.solo) ? stem.solo : !stem.muted;
const showSwitches = () => {
  const whole = stems.every(s => !s.solo && !s.muted);
  mix.muted = !whole;
  for (const stem of stems) {
    stem.audio.muted = whole || !heard(stem);
    stem.audio.volume = data.gain;
    stem.row.classList.toggle("silent", !heard(stem));
    stem.mute.setAttribute("aria-pressed", stem.muted);
    stem.only.setAttribute("aria-pressed", stem.solo);
  }
  $("all").hidden = whole;
};
const seek = t => {
  t = clamp(t, 0, data.seconds);
  for (const audio of players) audio.currentTime = t;
  showPosition(t);
  if (t < view.from || t > view.to) show(t - (view.to - view.from) / 4);
};
const setPlaying = on => {
  playing = on;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", on);
  if (!on) {
    for (const audio of players) { audio.pause(); audio.playbackRate = 1; }
    return;
  }
  if (position() >= data.seconds - 0.05) seek(looping ? region[0] : 0);
  if (looping && (position() < region[0] || position() >= region[1])) seek(region[0]);
  Promise.all(players.map(audio => audio.play())).catch(e => {
    if (e.name === "AbortError") return;
    setPlaying(false);
    problem(`The browser doesn't play: ${e.message}`);
  });
  requestAnimationFrame(follow);
};
const follow = () => {
  if (!playing) return;
  showPosition(position());
  requestAnimationFrame(follow);
};
/* Browsers start the players some 20 ms apart. Those of the stems play a little faster or slower until they are with the
   mix: by up to a tenth while they are muted, else by so little that it is not heard. */
const align = () => {
  const t = mix.currentTime;
  for (const { audio } of stems) {
    const late = t - audio.currentTime, most = audio.muted ? 0.1 : 0.02;
    if (audio.seeking || audio.ended) continue;
    if (Math.abs(late) > 0.25) audio.currentTime = t;
    audio.playbackRate = Math.abs(late) < 0.002 ? 1 : 1 + clamp(5 * late, -most, most);
  }
};
setInterval(() => {
  if (!playing || mix.seeking) return;
  if (looping && position() >= region[1] - 0.01) return seek(region[0]);
  if (mix.ended) return setPlaying(false);
  align();
}, 25);
mix.onended = () => { if (playing && !looping) setPlaying(false); };

/* The part of the recording that is shown */

const view = { from: 0, to: Math.max(data.seconds, 0.1) };
const show = (from, length = view.to - view.from) => {
  const whole = Math.max(data.seconds, 0.1);
  length = clamp(length, Math.min(1, whole), whole);
  view.from = clamp(from, 0, whole - length);
  view.to = view.from + length;
  $("scroll").hidden = length >= whole;
  $("scroll").value = whole > length ? 1000 * view.from / (whole - length) : 0;
  $("out").disabled = $("fit").disabled = length >= whole;
  draw();
};
const zoom = (factor, around = clamp(position(), view.from, view.to)) => {
  const length = (view.to - view.from) * factor;
  show(around - (around - view.from) * factor, length);
};

/* Pictures */

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return name => style.getPropertyValue(`--${name}`).trim();
};
const dark = matchMedia("(prefers-color-scheme: dark)");
const PALETTES = {
  light: [[255, 255, 255], [214, 228, 243], [139, 180, 221], [56, 116, 180], [18, 55, 110], [8, 24, 58]],
  dark: [[16, 19, 23], [42, 28, 84], [121, 38, 121], [211, 70, 97], [252, 158, 96], [252, 250, 190]],
};
const palette = () => {
  const stops = PALETTES[dark.matches ? "dark" : "light"];
  return Uint8ClampedArray.from({ length: 1024 }, (_, n) => {
    const at = (n >> 2) / 255 * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2), part = at - low;
    return n % 4 === 3 ? 255 : stops[low][n % 4] * (1 - part) + stops[low + 1][n % 4] * part;
  });
};
/* A spectrogram as a picture with a pixel for each value. */
const spectrogram = ({ rows, step }, values) => {
  const columns = values.length / rows, canvas = make("canvas");
  canvas.width = Math.max(columns, 1);
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, rows), table = palette();
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const value = values[column * rows + row] * 4;
      image.data.set(table.subarray(value, value + 4), ((rows - 1 - row) * canvas.width + column) * 4);
    }
  }
  context.putImageData(image, 0, 0);
  return { canvas, step };
};
const rows = [];
const addRow = (className, label, drawing) => {
  const row = make("div", `row ${className}`), lane = make("div", "lane"), canvas = make("canvas");
  lane.append(canvas);
  row.append(label, lane);
  $("timeline").append(row);
  rows.push({ canvas, drawing });
  return row;
};
const smallLabel = text => make("div", "label small", text);
const draw = () => {
  const colour = colours();
  for (const { canvas, drawing } of rows) {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) continue;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    context.textBaseline = "middle";
    drawing(context, width, height, t => (t - view.from) / (view.to - view.from) * width, colour);
  }
  showPosition(position());
  showRegion();
};
/* Bar lines, and beats where there is room for them. */
const grid = (context, width, top, bottom, x, colour) => {
  const line = (t, name) => {
    if (t < view.from || t > view.to) return;
    context.fillStyle = colour(name);
    context.fillRect(Math.round(x(t)), top, 1, bottom - top);
  };
  const perSecond = width / (view.to - view.from);
  const spacing = entries => entries.length > 1 ? (entries.at(-1) - entries[0]) / (entries.length - 1) * perSecond : Infinity;
  if (spacing(data.beats) >= 7) for (const t of data.beats) line(t, "beat");
  const bars = data.bars.map(start), every = stride(spacing(bars), 10);
  bars.forEach((t, n) => { if (n % every === 0) line(t, "bar"); });
};
/* Of entries that are `spacing` pixels apart, each how many-th is drawn so that they are `least` apart. */
const stride = (spacing, least) => {
  let every = 1;
  while (spacing * every < least && every < 1 << 20) every *= 2;
  return every;
};
/* Texts that begin at a time. One that has no room is left out; where hardly any has, all are. */
const texts = (context, entries, y, x, width, name, colour) => {
  if (entries.length > 1 && x(entries.at(-1)[0]) - x(entries[0][0]) < 10 * (entries.length - 1)) return;
  context.fillStyle = colour(name);
  let free = -Infinity;
  const shown = Math.max(last(entries, view.from, start), 0);
  for (const [t, text] of entries.slice(shown)) {
    if (t > view.to) break;
    const left = Math.max(x(t), 0) + 4;
    if (!text || left < free) continue;
    const short = text.length > 24 ? text.slice(0, 23) + "…" : text;
    const end = left + context.measureText(short).width;
    if (end > width && free > 0) break;
    context.fillText(short, left, y);
    free = end + 8;
  }
};
const drawRuler = (context, width, height, x, colour) => {
  let top = 0;
  if (data.sections.length) {
    data.sections.forEach(([t, name], n) => {
      const end = data.sections[n + 1]?.[0] ?? data.seconds;
      if (!name || end < view.from || t > view.to) return;
      context.fillStyle = colour("section");
      context.fillRect(x(t) + 1, 2, x(end) - x(t) - 2, 17);
    });
    texts(context, data.sections, 11, x, width, "text", colour);
    top = 20;
  }
  context.font = "bold 14px system-ui, 'DejaVu Sans', sans-serif";
  texts(context, data.chords, top + 14, x, width, "text", colour);
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  grid(context, width, height - 8, height, x, colour);
  const bars = data.bars.map(([t, bar]) => [t, bar < 1 ? "" : String(bar)]);
  const perBar = bars.length > 1 ? (x(bars.at(-1)[0]) - x(bars[0][0])) / (bars.length - 1) : Infinity;
  const every = stride(perBar, 30);
  const numbered = bars.filter((_, n) => (data.bars[n][1] - 1) % every === 0);
  if (numbered.length) {
    context.fillStyle = colour("faint");
    for (const [t, bar] of numbered) if (x(t) > -20 && x(t) < width - 8) context.fillText(bar, x(t) + 3, height - 16);
  } else {
    const seconds = stride(width / (view.to - view.from), 60);
    context.fillStyle = colour("faint");
    for (let t = Math.ceil(view.from / seconds) * seconds; t < view.to; t += seconds) context.fillText(clock(t), x(t) + 3, height - 16);
  }
};
const drawStem = stem => {
  const wave = new Int8Array(bytes(stem.wave.data).buffer), level = bytes(stem.level.data), spectrum = bytes(stem.spectrum.data);
  stem.levels = level;
  let picture = null;
  dark.addEventListener("change", () => { picture = null; });
  return (context, width, height, x, colour) => {
    const middle = height * 0.27, half = height * 0.25, top = height * 0.56;
    grid(context, width, 0, height, x, colour);
    const columns = Math.ceil(width), perColumn = (view.to - view.from) / width;
    const full = stem.peak > 0 ? half / 127 : 0;
    for (let column = 0; column < columns; column++) {
      const from = view.from + column * perColumn, to = from + perColumn;
      let low = 0, high = 0;
      for (let n = Math.floor(from / stem.wave.step); n <= Math.max(Math.floor(to / stem.wave.step) - 1, from / stem.wave.step); n++) {
        low = Math.min(low, wave[2 * n] || 0);
        high = Math.max(high, wave[2 * n + 1] || 0);
      }
      context.fillStyle = colour("core");
      context.fillRect(column, middle - high * full, 1, Math.max((high - low) * full, 1));
    }
    picture ??= spectrogram(stem.spectrum, spectrum);
    const { canvas, step } = picture;
    context.imageSmoothingEnabled = true;
    context.drawImage(canvas, view.from / step, 0, (view.to - view.from) / step, canvas.height, 0, top, width, height - top);
  };
};
const drawEvents = (context, width, height, x, colour) => {
  grid(context, width, 0, height, x, colour);
  context.fillStyle = colour("event");
  for (const [t] of data.events) {
    if (t < view.from || t > view.to) continue;
    context.beginPath();
    context.moveTo(x(t), height - 2);
    context.lineTo(x(t) - 4, height - 10);
    context.lineTo(x(t) + 4, height - 10);
    context.fill();
  }
  context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  texts(context, data.events, 8, x, width, "event", colour);
};
const drawLoad = (context, width, height, x, colour) => {
  const values = bytes(data.load.data), step = data.load.step, base = height - 3, unit = (height - 16) / 100;
  grid(context, width, 0, height, x, colour);
  const high = Math.max(100, ...values);
  const y = percent => base - percent * unit * 100 / high;
  context.fillStyle = colour("core");
  values.forEach((value, n) => {
    const left = x(n * step), right = x((n + 1) * step);
    if (right < 0 || left > width) return;
    context.fillRect(left, y(value), Math.max(right - left, 1), base - y(value));
  });
  context.fillStyle = colour("faint");
  context.fillRect(0, y(100), width, 1);
  context.fillText("100 %", 4, Math.max(y(100) - 8, 7));
  context.fillStyle = colour("late");
  for (const t of data.load.late) if (t >= view.from && t <= view.to) context.fillRect(x(t) - 1, 0, 2, height);
};

addRow(data.sections.length ? "ruler sections" : "ruler", smallLabel(data.bars.length ? "chords, bars" : "time"), drawRuler);
if (data.events?.length) addRow("events", smallLabel("events"), drawEvents);
for (const stem of stems) {
  const label = make("div", "label"), switches = make("div", "switches"), meter = make("div", "meter");
  const button = (text, title, click) => {
    const button = make("button", "", text);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.onclick = () => { click(); showSwitches(); };
    switches.append(button);
    return button;
  };
  stem.mute = button("M", `Mute ${stem.name}`, () => { stem.muted = !stem.muted; });
  stem.only = button("S", `Solo ${stem.name}`, () => { stem.solo = !stem.solo; });
  stem.meter = make("div");
  meter.append(stem.meter);
  label.append(make("div", "name", stem.name), make("div", "origin", stem.origin), switches, meter);
  stem.row = addRow("stem", label, drawStem(stem));
}
if (data.load) addRow("load", smallLabel(data.load.late.length ? "load, late hops" : "load"), drawLoad);

/* What moves */

const lane = () => rows[0].canvas.parentElement;
const toX = t => lane().offsetLeft + (t - view.from) / (view.to - view.from) * lane().clientWidth;
const showPosition = t => {
  if (playing && t > view.to && view.to < data.seconds) return show(t);
  const head = $("playhead");
  head.style.left = `${toX(t)}px`;
  head.hidden = t < view.from || t > view.to;
  $("position").textContent = where(t);
  for (const stem of stems) {
    const level = playing && heard(stem) ? stem.levels[Math.floor(t / stem.level.step)] || 0 : 0;
    stem.meter.style.clipPath = `inset(0 ${100 - level / 2.55}% 0 0)`;
  }
};
const showRegion = () => {
  const box = $("region");
  box.hidden = !region || region[1] < view.from || region[0] > view.to;
  if (!region) return;
  const left = toX(Math.max(region[0], view.from)), right = toX(Math.min(region[1], view.to));
  box.style.left = `${left}px`;
  box.style.width = `${Math.max(right - left, 1)}px`;
};
const setLoop = next => {
  region = next;
  looping = !!next;
  $("loop").setAttribute("aria-pressed", looping);
  const [from, to] = (next || []).map(t => where(t).split(" · ")[0].replace("bar ", ""));
  $("loop").textContent = next ? `Loop ${from} to ${to}` : "Loop";
  showRegion();
};
/* The nearest beat, where beats are known and far enough apart to be meant. */
const snapped = t => {
  const n = last(data.beats, t);
  const near = [data.beats[n], data.beats[n + 1]].filter(b => b !== undefined).sort((a, b) => Math.abs(a - t) - Math.abs(b - t))[0];
  return near !== undefined && Math.abs(near - t) < 1 ? near : t;
};

/* The user */

$("play").onclick = () => setPlaying(!playing);
$("all").onclick = () => {
  for (const stem of stems) stem.muted = stem.solo = false;
  showSwitches();
};
/* Without a region, four bars from here on. */
const fourBars = () => {
  const n = Math.max(last(data.bars, position(), start), 0);
  if (!data.bars.length) return [position(), Math.min(position() + 8, data.seconds)];
  return [data.bars[n][0], data.bars[n + 4]?.[0] ?? data.seconds];
};
$("loop").onclick = () => setLoop(looping ? null : fourBars());
$("in").onclick = () => zoom(0.5);
$("out").onclick = () => zoom(2);
$("fit").onclick = () => show(0, data.seconds);
$("scroll").oninput = () => show($("scroll").value / 1000 * (data.seconds - (view.to - view.from)));
const byBars = step => {
  const bars = data.bars.map(start);
  if (!bars.length) return seek(position() + 2 * step);
  const n = last(bars, position() + (step < 0 ? -0.3 : 0));
  seek(step < 0 ? bars[Math.max(n, 0)] : bars[n + 1] ?? data.seconds);
};
addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "INPUT") return;
  const actions = { " ": () => setPlaying(!playing), l: () => $("loop").click(), Home: () => seek(0), ArrowLeft: () => byBars(-1), ArrowRight: () => byBars(1) };
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
let drag = null;
const timeAt = event => {
  const box = lane().getBoundingClientRect();
  return clamp(view.from + (event.clientX - box.left) / box.width * (view.to - view.from), 0, data.seconds);
};
$("timeline").addEventListener("pointerdown", event => {
  if (event.button || !event.target.closest(".lane")) return;
  drag = { x: event.clientX, from: timeAt(event), moved: false };
  event.target.setPointerCapture(event.pointerId);
});
$("timeline").addEventListener("pointermove", event => {
  if (!drag) return;
  drag.moved ||= Math.abs(event.clientX - drag.x) > 5;
  if (!drag.moved) return;
  const [a, b] = [drag.from, timeAt(event)].map(snapped).sort((a, b) => a - b);
  if (b - a > 0.05) setLoop([a, b]);
});
$("timeline").addEventListener("pointerup", event => {
  if (drag && !drag.moved) seek(timeAt(event));
  drag = null;
});
$("timeline").addEventListener("pointercancel", () => { drag = null; });
$("timeline").addEventListener("wheel", event => {
  if (event.ctrlKey) zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) show(view.from + event.deltaX / lane().clientWidth * (view.to - view.from));
  else return;
  event.preventDefault();
}, { passive: false });
addEventListener("resize", draw);
dark.addEventListener("change", draw);
showSwitches();
show(0, data.seconds);
})();
