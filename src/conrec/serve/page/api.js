// Requests to the service this page came from, and to nothing else.

async function answer(response) {
  const value = await response.json().catch(() => ({ error: `the service answered ${response.status}` }));
  if (!response.ok) throw new Error(value.error ?? `the service answered ${response.status}`);
  return value;
}

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return answer(await fetch(query ? `${path}?${query}` : path));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

export const dislike = (user, item) => post(`v1/users/${encodeURIComponent(user)}/dislikes`, { item });

export const undo = (user, item) => post(`v1/users/${encodeURIComponent(user)}/undo`, { item });

export const mute = (user, rule) => post(`v1/users/${encodeURIComponent(user)}/mutes`, rule);

export const unmute = async (user, { kind, name }) =>
  answer(await fetch(`v1/users/${encodeURIComponent(user)}/mutes?${new URLSearchParams({ kind, name })}`, { method: "DELETE" }));

export const picture = (item) => `ui/picture?${new URLSearchParams({ item })}`;
