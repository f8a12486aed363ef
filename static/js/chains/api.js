// The REST of chains, one function per address that the pages use.

import { call } from "../rest.js";

const BASE = "/api/v1/chains";
const part = (text) => encodeURIComponent(text);
const ifMatch = (version) => ({ headers: { "If-Match": `"${version}"` } });
const rowsOf = (answer) => (Array.isArray(answer) ? answer : answer.results ?? []);

export const chainPath = (name) => `${BASE}/chains/${part(name)}/`;
export const exportPath = (name, format) => `${chainPath(name)}export/?format=${format}`;

/** All rows of a list, page by page. */
async function everything(path) {
  const rows = [];
  for (let next = path; next; ) {
    const answer = await call("GET", next);
    rows.push(...rowsOf(answer));
    next = answer.next ?? null;
  }
  return rows;
}

export const nfTypes = () => everything(`${BASE}/nf-types/?page_size=200`);
export const nfTypeCreate = (body) => call("POST", `${BASE}/nf-types/`, body);
export const nfTypeChange = (slug, version, body) => call("PATCH", `${BASE}/nf-types/${part(slug)}/`, body, ifMatch(version));
export const nfTypeDelete = (slug, version) => call("DELETE", `${BASE}/nf-types/${part(slug)}/`, undefined, ifMatch(version));

export const chainGet = (name) => call("GET", chainPath(name));
export const chainCreate = (body) => call("POST", `${BASE}/chains/`, body);
export const chainSave = (name, version, body) => call("PUT", chainPath(name), body, ifMatch(version));
export const chainDelete = (name, version) => call("DELETE", chainPath(name), undefined, ifMatch(version));
export const chainImport = (body) => call("POST", `${BASE}/chains/import/`, body);
export const revisions = async (name) => rowsOf(await call("GET", `${chainPath(name)}revisions/`));
export const restore = (name, version) => call("POST", `${chainPath(name)}restore/`, { version });

export const analyse = (body, signal) => call("POST", `${BASE}/chains/analyse/`, body, { signal });
export const whatIf = (body, signal) => call("POST", `${BASE}/chains/what-if/`, body, { signal });

export const plan = (name) => call("POST", `${chainPath(name)}plan/`);
export const rollback = (name) => call("POST", `${chainPath(name)}rollback/`);
export const remove = (name) => call("POST", `${chainPath(name)}remove/`);
export const trace = (name) => call("POST", `${chainPath(name)}trace/`);
export const apply = (planId) => call("POST", `${BASE}/plans/${part(planId)}/apply/`);
export const planGet = (planId) => call("GET", `${BASE}/plans/${part(planId)}/`);
export const plansOf = async (name) => rowsOf(await call("GET", `${BASE}/plans/?chain=${part(name)}`));

export const place = (body) => call("POST", `${BASE}/placements/`, body);
export const placements = async () => rowsOf(await call("GET", `${BASE}/placements/?page_size=20`));
export const placementGet = (id) => call("GET", `${BASE}/placements/${part(id)}/`);

export const jobGet = (id) => call("GET", `/api/v1/jobs/${part(id)}/`);
export const jobCancel = (id) => call("POST", `/api/v1/jobs/${part(id)}/cancel/`);
