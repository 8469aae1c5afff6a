import { mkdirSync, writeFileSync } from "node:fs";

mkdirSync("dist", { recursive: true });
writeFileSync("dist/index.html", `<h1>Built for ${process.env.PLACE}</h1>`);
writeFileSync("dist/word.json", JSON.stringify({ word: "abc" }));
console.log("built the page");
