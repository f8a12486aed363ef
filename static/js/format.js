// Numbers with units and times, as an operator reads them. A missing value is a dash, never a zero.

const NONE = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Bits per second in Mbit/s or kbit/s. */
export function rate(bps) {
  if (!isNumber(bps)) return NONE;
  if (bps >= 1e9) return `${(bps / 1e9).toFixed(2)} Gbit/s`;
  if (bps >= 1e5 || bps === 0) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${(bps / 1e3).toFixed(1)} kbit/s`;
}

/** Milliseconds; two digits that matter. */
export function milliseconds(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 10000) return `${(value / 1000).toFixed(1)} s`;
  if (size >= 100) return `${value.toFixed(0)} ms`;
  if (size >= 1) return `${value.toFixed(1)} ms`;
  return `${value.toFixed(2)} ms`;
}

/** A ratio 0..1 as percent. */
export function percent(ratio) {
  if (!isNumber(ratio)) return NONE;
  const value = ratio * 100;
  if (value === 0) return "0 %";
  return value < 1 ? `${value.toFixed(2)} %` : `${value.toFixed(1)} %`;
}

/** A span of seconds: 4 s, 2 min 05 s, 3 h 12 min, 2 d 4 h. */
export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const two = (value) => String(value).padStart(2, "0");

/** Clock time HH:MM:SS in the reader's zone. */
export function clock(atSeconds) {
  if (!isNumber(atSeconds)) return NONE;
  const at = new Date(atSeconds * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Clock time with milliseconds. */
export const clockFine = (atSeconds) =>
  isNumber(atSeconds) ? `${clock(atSeconds)}.${String(Math.floor((atSeconds % 1) * 1000)).padStart(3, "0")}` : NONE;

/** Clock time, with the date in front when it is not today. */
export function moment(atSeconds) {
  if (!isNumber(atSeconds)) return NONE;
  const at = new Date(atSeconds * 1000);
  if (at.toDateString() === new Date().toDateString()) return clock(atSeconds);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(atSeconds)}`;
}

/** Machine-readable time for <time datetime>. */
export const iso = (atSeconds) => (isNumber(atSeconds) ? new Date(atSeconds * 1000).toISOString() : "");
