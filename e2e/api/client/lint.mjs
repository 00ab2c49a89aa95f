// node lint.mjs FILE: Redocly's linter with its recommended rules. One line a problem; exits 1 when
// there is one, be it a warning only.
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({
  extends: ["recommended"],
  rules: {
    // The `default` response of each operation describes every refusal.
    "operation-4xx-response": "off",
    // Over the Unix socket there is no other host name.
    "no-server-example.com": "off",
  },
});
const problems = await lint({ ref: process.argv[2], config });
for (const { severity, ruleId, message, location } of problems) {
  console.log(`${severity} ${ruleId} at ${location[0].pointer}: ${message}`);
}
console.log(`${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
