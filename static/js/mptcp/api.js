// The REST of mptcp, one function per address that the pages use.

import { call, ProblemError } from "../rest.js";

const BASE = "/api/v1/mptcp";
const part = (text) => encodeURIComponent(text);

export function connections(filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return call("GET", `${BASE}/connections/?${query}`);
}
export const nextPage = (address) => call("GET", address);
export const picture = (id) => call("GET", `${BASE}/connections/${part(id)}/picture/`);
export const captureGet = (id) => call("GET", `${BASE}/captures/${part(id)}/`);
export const captureDelete = (id) => call("DELETE", `${BASE}/captures/${part(id)}/`);
export const measureAccuracy = (id) => call("POST", `${BASE}/captures/${part(id)}/accuracy/`);
export const sensors = () => call("GET", `${BASE}/sensors/`);
export const sensorSet = (device, body) => call("PUT", `${BASE}/sensors/${part(device)}/`, body);
export const collectors = () => call("GET", `${BASE}/collectors/`);
export const collectorSet = (device, body) => call("PUT", `${BASE}/collectors/${part(device)}/`, body);
export const acknowledge = (id) => call("POST", `${BASE}/alarms/${part(id)}/acknowledge/`);
export const block = (body) => call("POST", `${BASE}/verdicts/`, body);
export const undo = (id, reason) => call("POST", `${BASE}/verdicts/${part(id)}/undo/`, { reason });
export const jobCancel = (id) => call("POST", `/api/v1/jobs/${part(id)}/cancel/`);
export const jobGet = (id) => call("GET", `/api/v1/jobs/${part(id)}/`);

/**
 * Upload a form with its file. onProgress(sent ratio, sent bytes) is called on the way; signal gives it up.
 * fetch cannot tell progress of an upload, XMLHttpRequest can.
 */
export function upload(form, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${BASE}/captures/`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", document.querySelector('meta[name="csrf-token"]')?.content ?? "");
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total, event.loaded);
    request.onload = () => {
      let data = null;
      try {
        data = JSON.parse(request.responseText);
      } catch {
        data = { detail: `the portal answered ${request.status} with something that is not JSON` };
      }
      if (request.status === 202) resolve(data);
      else reject(new ProblemError(request.status, data));
    };
    request.onerror = () => reject(new TypeError("the connection ended while the file was being sent"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
