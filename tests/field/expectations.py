"""Compares a diagnosis with what a case expects. cases.json and its fields are described in README.md."""

HANGS = {"deadlock", "orphaned-wait", "livelock"}
BLAMES_NOBODY = {"not-hung", "idle", "unknown"}


def top(diagnosis):
    """The first finding that has the verdict of the whole, else the first finding, else None."""
    findings = diagnosis.get("findings") or []
    same = (finding for finding in findings if finding.get("verdict") == diagnosis.get("verdict"))
    return next(same, findings[0] if findings else None)


def false_alarm(case, diagnosis):
    """The finding that calls a healthy case hung, or None."""
    if case["kind"] != "healthy" or not diagnosis:
        return None
    return next((finding for finding in diagnosis.get("findings") or [] if finding.get("verdict") in HANGS), None)


def mismatch(case, diagnosis):
    """None when the diagnosis is what the case expects, else one line that names the difference."""
    expect, findings, first = case["expect"], diagnosis.get("findings") or [], top(diagnosis)
    got = ", ".join(f"{f.get('verdict')} {f.get('confidence')} {f.get('class')}" for f in findings[:4]) or "no finding"
    alarm = false_alarm(case, diagnosis)
    if alarm:
        return f"FALSE ALARM {got}: {alarm.get('summary', '')[:160]}"
    if diagnosis.get("verdict") not in expect["verdict"]:
        return f"verdict {diagnosis.get('verdict')}, expected {' or '.join(expect['verdict'])} ({got})"
    proven = [f for f in findings if f.get("confidence") == "proven" and f.get("verdict") in HANGS]
    if expect.get("never_proven") and proven:
        return f"proven, though it cannot be proved from outside ({got})"
    independent = [f for f in findings if f.get("follows") is None]
    if len(independent) > expect.get("max_findings", len(independent)):
        return f"{len(independent)} independent findings, at most {expect['max_findings']} expected ({got})"
    if first is None or first.get("verdict") in BLAMES_NOBODY:
        return None
    if "class" in expect and first.get("class") not in expect["class"]:
        return f"class {first.get('class')}, expected {' or '.join(expect['class'])} ({got})"
    return wrong_names(expect, first)


def wrong_names(expect, finding):
    processes, summary = finding.get("processes") or [], finding.get("summary") or ""
    text = "\n".join([summary] + [name_of(process) for process in processes]).lower()
    for words in expect.get("names", []):
        if not any(word.lower() in text for word in words):
            return f"does not name {' or '.join(words)}: {summary[:160]}"
    holders = [process for process in processes if process.get("role") == "holder"]
    for word in expect.get("not_names", []):
        if any(word.lower() in (holder.get("comm") or "").lower() for holder in holders):
            return f"blames {word}: {summary[:160]}"
    return None


def name_of(process):
    return (process.get("comm") or "") + " " + " ".join(process.get("cmdline") or [])
