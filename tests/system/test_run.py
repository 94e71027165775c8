#!/usr/bin/python3
"""`sovrun run`: one document, the same model for 1, 2 and 4 ranks, read by a program that is not ours."""
import json
import subprocess

from cluster import CSV, PYTHON, ROOT, SPEC, Cluster, check, finish, left_over


def main():
    c = Cluster("run")
    models = {}
    try:
        for ranks in (1, 2, 4):
            done = c.run("run", SPEC, "--set", f"resources.ranks={ranks}", "--json")
            if not check(f"run with {ranks} rank(s) exits 0", done.returncode == 0, done.stderr):
                continue
            shown = json.loads(done.stdout)
            models[ranks] = shown["model"]["sha256"]
            check(f"run with {ranks} rank(s): one document that says what happened",
                  shown["state"] == "succeeded" and shown["attempts"] == 1 and shown["job"] and shown["model"]["uri"].startswith("s3://")
                  and 0 < shown["metrics"]["holdout_loss"] and 0.5 < shown["metrics"]["holdout_accuracy"] <= 1, done.stdout)
            check(f"run with {ranks} rank(s): hold-out AUC at least 0.75", shown["metrics"]["holdout_auc"] >= 0.75, shown["metrics"])
        check("1, 2 and 4 ranks give the same model to the bit", len(models) == 3 and len(set(models.values())) == 1, models)
        check("run leaves no service behind", not left_over(c.home), left_over(c.home))

        c.up()
        job = shown["job"]
        model = c.home / "model.safetensors"
        got = c.run("model", "get", job, "-o", model)
        check("model get fetches, opens and checks the model", got.returncode == 0 and model.exists(), got.stderr)
        scored = subprocess.run([PYTHON, ROOT / "tools" / "predict.py", model, CSV, "--json", "--tail-of-shards", "8", "--holdout",
                                 "0.2"], capture_output=True, text=True, check=False)
        check("tools/predict.py scores the hold-out with numpy alone", scored.returncode == 0, scored.stderr)
        theirs = json.loads(scored.stdout or "{}")
        check("its AUC is the trainer's", abs(theirs.get("auc", 0) - shown["metrics"]["holdout_auc"]) < 1e-12,
              f"{theirs} and {shown['metrics']}")
        check("its loss is the trainer's to rounding", abs(theirs.get("loss", 0) - shown["metrics"]["holdout_loss"]) < 1e-5,
              f"{theirs} and {shown['metrics']}")
        verified = c.run("model", "verify", job)
        check("model verify finds nothing wrong", verified.returncode == 0, verified.stderr)
    finally:
        c.stop_quietly()
    check("nothing is left running", not left_over(c.home), left_over(c.home))
    finish()


if __name__ == "__main__":
    main()
