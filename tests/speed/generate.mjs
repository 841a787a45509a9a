// Measurements of llama.cpp: a JSON object on stdin in, JSON out. Run by generate.py in a folder that has node-llama-cpp.
//   { model, adapter or null, threads, count, prompts: [text] }: for each prompt its number of tokens, the greedy tokens after it, the
//     seconds to the first and those of the others.
//   { ..., asked: [[prompt, tokens so far, candidates]] }: for each the natural logarithms of the candidates' shares.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import fs from "node:fs";

const installed = createRequire(`${process.cwd()}/x.js`).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(installed));

const { model: modelPath, adapter, threads, count, prompts, asked } = JSON.parse(fs.readFileSync(0, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: threads });
const model = await llama.loadModel({ modelPath });
const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
const tokensOf = (text) => [...begin, ...model.tokenize(text)];
const lora = adapter ? { lora: { adapters: [{ filePath: adapter }] } } : {};
const context = await model.createContext({ contextSize: 1024, batchSize: 1024, threads, flashAttention: false, ...lora });
const sequence = context.getSequence();
const seconds = () => Number(process.hrtime.bigint()) / 1e9;

const answers = [];
for (const [text, written, candidates] of asked ?? []) {
    await sequence.clearHistory();
    const tokens = [...tokensOf(text), ...written];
    const last = [tokens.pop(), { generateNext: { probabilities: true } }];
    const evaluated = await sequence.controlledEvaluate([...tokens, last]);
    const shares = evaluated[tokens.length].next.probabilities;
    answers.push(candidates.map((candidate) => Math.log(shares.get(candidate) ?? 0)));
}
for (const text of asked ? [] : prompts) {
    await sequence.clearHistory();
    const prompt = tokensOf(text);
    const tokens = [];
    const began = seconds();
    let first = 0;
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
        if (tokens.length === 0) first = seconds() - began;
        tokens.push(token);
        if (tokens.length === count) break;
    }
    answers.push({ read: prompt.length, tokens, prompt_seconds: first, seconds: seconds() - began - first });
}
console.log(JSON.stringify(answers));
process.exit(0);
