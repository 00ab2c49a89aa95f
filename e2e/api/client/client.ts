// A client as somebody outside would write it: only what is generated from the API's description and
// a small library that knows such descriptions. Run by e2e/api/02 against a management server with
//   POSTERN_URL, POSTERN_TOKEN   where, and a read-only token
//   POSTERN_AGENT                a connected agent; more nodes than one are there
import assert from "node:assert/strict";
import process from "node:process";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Node = components["schemas"]["Node"];
type Problem = components["schemas"]["Problem"];

function given(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is set`);
  return value;
}

const url = given("POSTERN_URL"), agent = given("POSTERN_AGENT");
const client = createClient<paths>({
  baseUrl: `${url}/api/v1`,
  headers: { Authorization: `Bearer ${given("POSTERN_TOKEN")}` },
});

async function inventoryByPages(): Promise<Node[]> {
  const nodes: Node[] = [];
  let cursor: string | null = null, pages = 0;
  do {
    const query: { limit: number; cursor?: string } = cursor === null ? { limit: 1 } : { limit: 1, cursor };
    const { data, error } = await client.GET("/nodes", { params: { query } });
    if (error) throw new Error(error.detail);
    assert.ok(data.items.length <= 1, "a page is no longer than was asked");
    nodes.push(...data.items);
    cursor = data.next;
    ++pages;
  } while (cursor !== null);
  assert.ok(pages > 2, `the nodes came in ${pages} pages`);
  return nodes;
}

async function oneNode(): Promise<void> {
  const { data, error, response } = await client.GET("/nodes/{node}", { params: { path: { node: agent } } });
  if (error) throw new Error(error.detail);
  assert.equal(response.status, 200);
  assert.equal(data.name, agent);
  assert.equal(data.role, "agent");
  assert.equal(data.connection, "connected");
  const sealed: number[] = data.streams.map((stream) => stream.sealed);
  assert.ok(sealed.length > 0 && sealed.every((number) => number > 0), `${sealed}`);
  const uptime = data.values.find((value) => value.metric === "system.uptime");
  assert.ok(uptime !== undefined && uptime.value !== null && uptime.value > 0);
}

async function sameIsNotSentAgain(): Promise<void> {
  const first = await client.GET("/group");
  assert.ok(first.data);
  const tag = first.response.headers.get("ETag");
  assert.ok(tag, "a 200 has an ETag");
  const second = await client.GET("/group", { headers: { "If-None-Match": tag } });
  assert.equal(second.response.status, 304);
  assert.equal(second.data, undefined);
}

async function measuredValues(): Promise<void> {
  const { data, error } = await client.GET("/nodes/{node}/series", {
    params: { path: { node: agent }, query: { metric: "system.memory.limit", limit: 10 } },
  });
  if (error) throw new Error(error.detail);
  const value = data.items[0];
  assert.ok(value);
  assert.equal(value.unit, "By");
}

async function refusals(): Promise<void> {
  const nobody = await client.GET("/nodes/{node}", { params: { path: { node: "nobody.example" } } });
  const problem: Problem | undefined = nobody.error;
  assert.ok(problem);
  assert.equal(problem.type, "urn:postern:problem:not-found");
  assert.equal(problem.status, nobody.response.status);
  assert.ok(problem.detail.includes("nobody.example"), problem.detail);
  assert.equal(nobody.response.headers.get("Content-Type")?.split(";")[0], "application/problem+json");

  const denied = await client.POST("/agents", { body: { name: "a9.dmz.example" } });
  assert.equal(denied.error?.type, "urn:postern:problem:denied");

  const stranger = createClient<paths>({ baseUrl: `${url}/api/v1`, headers: { Authorization: "Bearer nonsense" } });
  const unknown = await stranger.GET("/nodes");
  assert.equal(unknown.error?.type, "urn:postern:problem:unauthenticated");
}

// What the compiler must refuse; each line is an error when it does not.
export async function wrongUses(): Promise<void> {
  // @ts-expect-error there is no such path
  await client.GET("/weather");
  // @ts-expect-error a node is named by its path
  await client.GET("/nodes/{node}");
  // @ts-expect-error there is no such role
  await client.GET("/nodes", { params: { query: { role: "king" } } });
  // @ts-expect-error an approval names somebody
  await client.POST("/agents", { body: {} });
  const { data, error } = await client.GET("/nodes");
  // @ts-expect-error a node has no colour
  data?.items[0]?.colour;
  // @ts-expect-error no kind of problem
  error?.type === "urn:postern:problem:weather";
}

const names = (await inventoryByPages()).map((node) => node.name);
assert.ok(names.includes(agent), `${agent} is among ${names}`);
assert.equal(new Set(names).size, names.length, "no node is on two pages");
await oneNode();
await sameIsNotSentAgain();
await measuredValues();
await refusals();
console.log(`the generated client saw ${names.length} nodes`);
