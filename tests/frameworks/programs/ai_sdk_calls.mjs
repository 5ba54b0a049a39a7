// Vercel's AI SDK asks: node ai_sdk_calls.mjs BASE_URL KEY
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, apiKey] = process.argv.slice(2);
const gateway = createOpenAICompatible({ name: "gateway", baseURL, apiKey, includeUsage: true });
const told = (name, holds) => console.log(`${name} ${holds ? "ok" : "WRONG"}`);
const asked = (prompt, model = "chat") => ({ model: gateway(model), prompt, maxRetries: 0 });

const whole = await generateText(asked("say it"));
told("whole", whole.text === "the gate is open" && whole.usage.inputTokens === 10);

const stream = streamText(asked("say it"));
let text = "";
for await (const piece of stream.textStream) text += piece;
told("streamed", text === "the gate is open" && (await stream.usage).outputTokens === 4);

const level = tool({
  description: "How high a lake is",
  inputSchema: z.object({ lake: z.string() }),
  execute: async ({ lake }) => `${lake}: 3 m`,
});
const called = await generateText({
  ...asked("how high is it?"),
  tools: { level },
  stopWhen: isStepCount(2),
});
told("tools", called.text === "the gate is open" && called.steps[0].toolResults[0].output === "north: 3 m");

const status = async (prompt, model) => {
  try {
    await generateText(asked(prompt, model));
  } catch (error) {
    return error.statusCode;
  }
};
told("refused", (await status("fail")) === 400);
told("unknown", (await status("hi", "no-such-model")) === 404);

const leaving = new AbortController();
const endless = streamText({ ...asked("endless"), abortSignal: leaving.signal });
let left = "ended";
for await (const part of endless.fullStream) {
  if (part.type === "text-delta" && part.text === "on ") leaving.abort();
  if (part.type === "abort") left = "left";
}
told("left", left === "left");
