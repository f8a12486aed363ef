// Calls to the REST API with the session and its CSRF token.

/** What a refused call says: the problem document's words. */
export class ProblemError extends Error {
  constructor(status, problem) {
    const fields = (problem?.errors ?? []).map((error) => `${error.field}: ${error.limit}`);
    const detail = problem?.detail || problem?.title || `the portal answered ${status}`;
    super([detail, ...fields.filter((words) => !detail.includes(words))].join("; "));
    this.status = status;
    this.problem = problem;
  }
}

const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

/**
 * Call the API and return the answer's JSON (null when empty).
 * Args: headers, to be sent too; signal, of an AbortController that gives the call up.
 * Throws ProblemError when the portal refuses, TypeError when it cannot be reached.
 */
export async function call(method, path, body, { headers: more = {}, signal } = {}) {
  const headers = { Accept: "application/json", "X-CSRFToken": token(), ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    credentials: "same-origin",
    redirect: "error",
    signal,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = { detail: `the portal answered ${answer.status} with something that is not JSON` };
  }
  if (!answer.ok) throw new ProblemError(answer.status, data);
  return data;
}

/** Words for any failure of a call. */
export function failureWords(error) {
  return error instanceof ProblemError ? error.message : "the portal cannot be reached";
}
