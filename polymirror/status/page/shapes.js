// What everything on the page is made of: states, words, ages, strips. Text from outside is only ever set as text.

export const CELLS = 60;

export const STATES = {
  SUSPECT: { sign: "◐", rank: 0, letter: "s", height: 12 },
  RESYNCING: { sign: "○", rank: 1, letter: "y", height: 9 },
  UNPRIMED: { sign: "·", rank: 2, letter: "u", height: 6 },
  LIVE: { sign: "●", rank: 4, letter: "l", height: 4 },
  RETIRED: { sign: "■", rank: 5, letter: "r", height: 2 },
};

const BY_LETTER = Object.fromEntries(Object.entries(STATES).map(([name, { letter }]) => [letter, name]));
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Make an element with a class, perhaps a role, and text or children. */
export function make(tag, className = "", content = "", role = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (role) element.setAttribute("role", role);
  if (Array.isArray(content)) element.append(...content);
  else if (content) element.textContent = content;
  return element;
}

/** Set text only where it changed: what is written anew is laid out anew. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute likewise; null takes it away. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** An age for a row: steadier than age(), which would flicker from one tick to the next. */
export function calmAge(seconds) {
  if (seconds === null) return "never";
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : age(seconds);
}

export const count = (number) => number.toLocaleString("en");

/** A price with at least two decimals, so that prices stand below each other. */
export function cents(price) {
  const [whole, decimals = ""] = price.split(".");
  return `${whole}.${decimals.padEnd(2, "0")}`;
}

export const times = (number) => (number === 0 ? "never" : number === 1 ? "once" : `${count(number)} times`);

export const words = (reason) => (reason || "").toLowerCase().replaceAll("_", " ");

/** A name that people read at a glance: rolling windows by asset, length and start, others by their slug. */
export function shortName(slug, token) {
  if (!slug) return `token ${token.slice(0, 6)}…${token.slice(-4)}`;
  const found = /^([a-z0-9]+)-updown-(\d+[mh])-(\d{9,11})$/.exec(slug);
  if (!found) return slug;
  const start = new Date(Number(found[3]) * 1000);
  const clock = `${String(start.getHours()).padStart(2, "0")}:${String(start.getMinutes()).padStart(2, "0")}`;
  return `${found[1].toUpperCase()} ${found[2]} ${clock}`;
}

/** An empty strip: a picture with a path for each state. Its height says what its colour says. */
export function makeStrip() {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${CELLS} 12`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  const paths = {};
  for (const name of Object.keys(STATES)) {
    paths[name] = document.createElementNS(SVG, "path");
    paths[name].setAttribute("class", `at-${name}`);
    picture.append(paths[name]);
  }
  return { picture, paths, shown: "" };
}

export function drawStrip(strip, letters) {
  if (strip.shown === letters) return;
  strip.shown = letters;
  const drawn = Object.fromEntries(Object.keys(STATES).map((name) => [name, ""]));
  const counts = {};
  for (let from = 0; from < letters.length; ) {
    let to = from + 1;
    while (to < letters.length && letters[to] === letters[from]) to += 1;
    const name = BY_LETTER[letters[from]];
    if (name) {
      drawn[name] += `M${from} 12v-${STATES[name].height}h${to - from}v${STATES[name].height}z`;
      counts[name] = (counts[name] || 0) + to - from;
    }
    from = to;
  }
  for (const [name, path] of Object.entries(strip.paths)) path.setAttribute("d", drawn[name]);
  const told = Object.entries(counts).map(([name, cells]) => `${name} in ${cells} of ${CELLS}`);
  mark(strip.picture, "aria-label", `Quarter minutes of the last 15 minutes: ${told.join(", ") || "nothing known"}`);
}
