"""actions/github-script: JavaScript with `context`, `core`, `exec` and `io`; calls to GitHub's API are recorded, not made."""

from __future__ import annotations

import json
import shutil

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use

_PRELUDE = r"""
const fs = require('fs'), os = require('os'), child = require('child_process');
const file = (name, key, value) => fs.appendFileSync(process.env[name],
  key + '<<FW_END' + os.EOL + (typeof value === 'string' ? value : JSON.stringify(value ?? '')) + os.EOL + 'FW_END' + os.EOL);
const say = (name, text) => console.log('::' + name + '::' + String(text && text.message || text)
  .replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A'));
const core = {
  getInput: n => (process.env['INPUT_' + n.replace(/ /g, '_').toUpperCase()] || '').trim(),
  setOutput: (k, v) => file('GITHUB_OUTPUT', k, v), exportVariable: (k, v) => { process.env[k] = v; file('GITHUB_ENV', k, v); },
  addPath: p => fs.appendFileSync(process.env.GITHUB_PATH, p + os.EOL), setSecret: v => say('add-mask', v),
  info: t => console.log(t), debug: t => say('debug', t), notice: t => say('notice', t), warning: t => say('warning', t),
  error: t => say('error', t), setFailed: t => { process.exitCode = 1; say('error', t); },
  startGroup: t => say('group', t), endGroup: () => console.log('::endgroup::'),
  group: async (t, f) => { core.startGroup(t); try { return await f(); } finally { core.endGroup(); } },
  summary: { text: '', addRaw(t) { this.text += t; return this; }, addEOL() { return this.addRaw(os.EOL); },
    addHeading(t, l) { return this.addRaw('#'.repeat(l || 1) + ' ' + t + os.EOL); },
    async write() { fs.appendFileSync(process.env.GITHUB_STEP_SUMMARY, this.text); this.text = ''; return this; } },
};
const payload = JSON.parse(fs.readFileSync(process.env.GITHUB_EVENT_PATH));
const [owner, repo] = process.env.GITHUB_REPOSITORY.split('/');
const context = { payload, eventName: process.env.GITHUB_EVENT_NAME, sha: process.env.GITHUB_SHA, ref: process.env.GITHUB_REF,
  workflow: process.env.GITHUB_WORKFLOW, job: process.env.GITHUB_JOB, actor: process.env.GITHUB_ACTOR,
  runNumber: +process.env.GITHUB_RUN_NUMBER, runId: +process.env.GITHUB_RUN_ID, serverUrl: process.env.GITHUB_SERVER_URL,
  repo: { owner, repo }, issue: { owner, repo, number: (payload.issue || payload.pull_request || payload).number } };
const recorded = path => new Proxy(async args => {
  say('notice', 'github.' + path + ' is only recorded here: ' + JSON.stringify(args || {}).slice(0, 300));
  return { status: 200, data: {}, headers: {} };
}, { get: (t, key) => key === 'then' ? undefined : recorded(path ? path + '.' + String(key) : String(key)) });
const github = recorded('');
const exec = { exec: async (c, a = [], o = {}) => child.spawnSync(c + (a.length ? ' ' + a.join(' ') : ''),
    { shell: true, stdio: 'inherit', cwd: o.cwd }).status,
  getExecOutput: async (c, a = [], o = {}) => { const r = child.spawnSync(c + (a.length ? ' ' + a.join(' ') : ''),
    { shell: true, encoding: 'utf8', cwd: o.cwd }); return { exitCode: r.status, stdout: r.stdout, stderr: r.stderr }; } };
const io = { mkdirP: async p => fs.mkdirSync(p, { recursive: true }),
  rmRF: async p => fs.rmSync(p, { recursive: true, force: true }),
  cp: async (a, b) => fs.cpSync(a, b, { recursive: true }), mv: async (a, b) => fs.renameSync(a, b),
  which: async n => child.spawnSync('sh', ['-c', 'command -v ' + n], { encoding: 'utf8' }).stdout.trim() };
const require_ = require('module').createRequire(process.env.GITHUB_WORKSPACE + '/');
"""
_END = r"""
main().then(result => { if (result !== undefined) file('GITHUB_OUTPUT', 'result', ENCODING === 'string' ? String(result) :
  JSON.stringify(result)); }).catch(error => { say('error', 'Unhandled error: ' + error); process.exit(1); });
"""


async def github_script(use: Use) -> None:
    if shutil.which("node", path=use.run.search_path()) is None:
        raise ActionFailed("actions/github-script needs node, which is not on this machine's PATH; do the same in a run step")
    script = use.inputs.get("script", "")
    if not script.strip():
        raise ActionFailed("input 'script' is required")
    path = use.temp / f"script-{next(use.run.files)}.js"
    path.write_text(f"{_PRELUDE}\nconst ENCODING = {json.dumps(use.text('result-encoding') or 'json')};\n"
                    f"async function main() {{ const require = require_;\n{script}\n}}\n{_END}")
    done = await use.run.process(["node", str(path)], use.frame, use.step, use.env, use.outcome, cwd=use.workspace)
    use.run.check(done, use.step, None)


GITHUB_SCRIPT = BuiltIn("actions/github-script", {"script": "", "github-token": "", "result-encoding": "json", "debug": "",
                                                  "retries": "", "previews": "", "user-agent": ""}, github_script,
                        takes_more=True)
