// Requests to the daemon. A session cookie carries the token, so that pictures and downloads work as plain URLs.

/** What the daemon says is wrong: `title` for people, `status` of the response (0: no connection). */
export class ApiError extends Error {
  constructor(status, title, retryAfter = 0) {
    super(title);
    this.status = status;
    /** Seconds after which the daemon wants to be asked again; 0 if it does not say. */
    this.retryAfter = retryAfter;
  }
}

/** The header that a foreign site cannot send: it keeps other pages from acting in this session's name. */
export const PAGE_HEADER = { "X-Alphadrop": "page" };

/** Answers "sign in first" for every request that needs it. */
export const session = new EventTarget();

/** The JSON of a GET. Raises ApiError. */
export const get = (path, parameters = {}) => request("GET", withQuery(path, parameters));

/** The JSON of a POST. Raises ApiError. */
export const post = (path, body) => request("POST", path, body);

/** A path with those parameters that are not empty. */
export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Begin a session; the token itself is not kept. Raises ApiError. */
export const signIn = (token) => request("POST", "/v1/session", { token });

async function request(method, path, body) {
  const options = { method, headers: { ...PAGE_HEADER }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const response = await fetch(path, options).catch(() => {
    throw new ApiError(0, "");
  });
  const text = await response.text();
  if (!response.ok) throw failure(response.status, text, response.headers.get("Retry-After"));
  return text ? JSON.parse(text) : null;
}

/** An unsuccessful response as an ApiError; 401 also asks for a token. */
export function failure(status, text, retryAfter) {
  if (status === 401) session.dispatchEvent(new Event("needed"));
  return new ApiError(status, title(text), Number(retryAfter) || 0);
}

function title(text) {
  try {
    const [error] = JSON.parse(text).errors;
    return [error.title, error.detail].filter(Boolean).join(": ");
  } catch {
    return "";
  }
}
