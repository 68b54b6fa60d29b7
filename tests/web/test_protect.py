"""``oarlock web build --protect``: models that run with their key, in Node and in Chromium, and with nothing else."""

from __future__ import annotations

import importlib.util
import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from having import HERE, chromium, node
from test_build import in_node_twice, same_as_paddle

from node_runs import SCRIPT
from oarlock import cli, errors
from oarlock.targets.web import keys, site
from oarlock.targets.web.protect import key_for
from oarlock.targets.web.serve import address_of, server_of

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ziglang", "cryptography")), reason="needs oarlock[web,protect]"
)


@pytest.fixture(scope="module")
def made(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A site in chunks of a kilobyte, and its key."""
    root = tmp_path_factory.mktemp("protected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "CHUNK_BYTES", 1024)
        site.build_site(saved / "net.json", root / "site", variants=["simd128"], protect=root / "model.key")
        site.build_site(saved / "net.json", root / "other", variants=["simd128"], protect=root / "model.key")
    return root / "site", root / "model.key"


@pytest.fixture(scope="module")
def server(made: tuple[Path, Path]) -> Iterator[str]:
    handler = keys.handler_of([keys.read_key(made[1])], ["https://shop.example"])
    with server_of(made[0], port=0, handler=handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address_of(server)
        server.shutdown()


@node
def test_a_program_by_a_buffer(saved: Path, tmp_path: Path) -> None:
    """A model of dynamic sizes; the key as Node reads it, which may be used again."""
    site.build_site(saved / "dynamic.json", tmp_path / "site", variants=["simd128"], protect=tmp_path / "model.key")
    (tmp_path / "raw.key").write_bytes(keys.read_key(tmp_path / "model.key").key)
    load = "const model = await load(site, options);"
    script = SCRIPT.read_text()
    assert load in script
    site_folder = (tmp_path / "site").as_posix()
    (tmp_path / "run.mjs").write_text(script.replace(load, f"await load(site, options);\n{load}"))
    results = in_node_twice(site_folder, saved, variant="simd128", key=tmp_path / "raw.key", script=tmp_path / "run.mjs")
    same_as_paddle(results, saved)


@node
def test_in_node(made: tuple[Path, Path], saved: Path, server: str) -> None:
    folder, path = made
    key = keys.read_key(path)
    tokens = {"good": key.token(), "expired": key.token(60, now=1e9), "forged": key.token()[:-1] + "x"}
    command = ["node", str(HERE / "protected.mjs"), str(folder), str(saved), str(path), server + "oarlock/keys/", json.dumps(tokens)]
    done = subprocess.run([*command, str(folder.with_name("other"))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for way in ("raw", "crypto", "endpoint"):
        same_as_paddle(found[way]["plain"], saved)
        assert all(name.startswith("k") and name[1:].isdigit() for name in found[way]["kernels"])
    refused = found["refused"]
    assert "the model is protected" in refused["none"] and "the key is not this model's" in refused["wrong"]
    for change in ("wrongCrypto", "bit", "swapped", "lost", "otherModel", "shape"):
        assert refused[change].startswith("OarlockError: the file does not open with this key"), change
    assert "weights 0 of" in refused["bit"]
    assert "there is no token" in refused["noToken"] and "the token is expired" in refused["expired"]
    assert "there is no token, or it is none of ours" in refused["forged"]
    assert path.name not in found["written"]
    assert "leads to no web server" in refused["relative"], "relative to a folder of this machine"
    same_as_paddle(found["relative"]["plain"], saved)


@chromium
def test_in_a_browser(made: tuple[Path, Path], server: str) -> None:
    name = keys.read_key(made[1]).id
    with server_of(made[0], port=0) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        command = ["node", str(HERE / "protected_page.mjs"), server, name, address_of(elsewhere)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        elsewhere.shutdown()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == [] and "median of 10 runs" in found["shown"]
    assert found["seen"]["here"] == found["seen"]["worker"] and found["seen"]["kept"] == "no-store"
    assert found["seen"]["exported"] == "InvalidAccessError" and "protected" in found["seen"]["none"]
    assert found["refused"] == {"token": "TypeError", "key": "TypeError"}, "the browser keeps answers from pages of other origins"


def test_what_is_written(made: tuple[Path, Path], saved: Path, tmp_path: Path) -> None:
    folder, path = made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    manifest = json.loads((folder / "model.json").read_text())
    (variant,) = manifest["variants"]
    files = [(folder / part["file"]).read_bytes() for part in [variant["module"], *variant["weights"]]]
    assert len(files) > 3 and len({file[:12] for file in files}) == len(files), "each has a nonce of its own"
    clear = site.build_site(saved / "net.json", tmp_path / "clear", variants=["simd128"]).artifacts["simd128"]
    weights = clear.weights[0].tobytes()
    secret = keys.read_key(path)
    for content in [file.read_bytes() for file in folder.rglob("*") if file.is_file()]:
        assert b"\0asm" not in content and weights[:64] not in content and b"conv2d" not in content
        assert secret.key not in content and secret.key.hex().encode() not in content


def test_another_implementation_opens_it(made: tuple[Path, Path]) -> None:
    """AES-256-GCM as the file format says, by cryptography's own hands: nonce, content, tag, and what is authenticated."""
    import hashlib
    import zlib

    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    folder, path = made
    manifest = json.loads((folder / "model.json").read_text())
    build = {"build": manifest["protection"]["build"], "plans": manifest["protection"]["plans"]}
    facts = json.dumps(build | {"inputs": manifest["inputs"], "outputs": manifest["outputs"]}, separators=(",", ":"))
    bound = f"oarlock web 1\n{hashlib.sha256(facts.encode()).hexdigest()}\nmodule simd128".encode()
    file = (folder / manifest["variants"][0]["module"]["file"]).read_bytes()
    cipher = AESGCM(bytes.fromhex(json.loads(path.read_text())["key"]))
    assert zlib.decompress(cipher.decrypt(file[:12], file[12:], bound)).startswith(b"\0asm")
    with pytest.raises(InvalidTag):
        cipher.decrypt(file[:12], file[12:], bound + b" ")


def test_tokens() -> None:
    key, other = keys.Key(b"k" * 32, b"s" * 32), keys.Key(b"k" * 32, b"t" * 32)
    good = key.token(60, now=1000)
    assert key.fault(good, now=1059) == "" and key.fault(good, now=1060) == "the token is expired"
    assert other.fault(good, now=1000) == "the token was not signed for this key"
    name, until, signature = good.split(".")
    assert "not signed" in key.fault(f"{name}.{int(until) + 9}.{signature}", now=1000)
    assert "none of ours" in key.fault("", now=1000) and "none of ours" in key.fault(good + "é", now=1000)
    with pytest.raises(errors.InputError, match="1 to 3600 seconds"):
        key.token(3601)


def test_the_endpoint(server: str, made: tuple[Path, Path]) -> None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    key = keys.read_key(made[1])

    def post(path: str, method: str = "POST", **headers: str) -> tuple[int, bytes, str | None]:
        try:
            with urlopen(Request(server + path, method=method, headers=headers)) as answer:
                return answer.status, answer.read(), answer.headers["access-control-allow-origin"]
        except HTTPError as error:
            return error.code, error.read(), error.headers["access-control-allow-origin"]

    bearer = f"Bearer {key.token()}"
    shop = "https://shop.example"
    assert post(f"oarlock/keys/{key.id}", Authorization=bearer) == (200, key.key, None), "a program, which has no origin"
    assert post(f"oarlock/keys/{key.id}", Authorization=bearer, Origin=shop) == (200, key.key, shop)
    assert post(f"oarlock/keys/{key.id}", method="OPTIONS", Origin=shop)[::2] == (204, shop)
    assert post(f"oarlock/keys/{key.id}", Authorization=bearer, Origin="https://other.example")[::2] == (403, None)
    assert post("oarlock/keys/0000", Authorization=bearer)[0] == 404
    assert post(f"oarlock/tokens/{key.id}")[0] == 403 and post(f"oarlock/tokens/{key.id}", Origin=shop)[0] == 403
    status, token, _ = post(f"oarlock/tokens/{key.id}", Origin=server.rstrip("/"))
    assert status == 200 and key.fault(token.decode()) == ""


def test_origins(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers leave out the port that a scheme has anyway."""
    found = [keys.origin_of(a) for a in ("http://localhost:80", "https://Shop.example:443/", "https://shop.example:80", "http://a:8080")]
    assert found == ["http://localhost", "https://shop.example", "https://shop.example:80", "http://a:8080"]
    with server_of(made[0], port=0) as server:
        monkeypatch.setattr(server, "server_port", 80)
        handler = object.__new__(keys.handler_of([], ["https://shop.example:443"]))
        handler.server = server
        handler.headers = {"Origin": "http://localhost"}
        assert handler._known_origin() and "http://127.0.0.1" in handler._own()
        handler.headers = {"Origin": "https://shop.example"}
        assert handler._known_origin()


def test_keys_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="served with the model"):
        key_for(tmp_path / "site/model.key", tmp_path / "site")
    path = tmp_path / "model.key"
    key = key_for(path, tmp_path / "site")
    assert key_for(path, tmp_path / "site") == key, "a file that is there is used"
    path.chmod(0o644)
    with pytest.raises(errors.InputError, match="others may read the key"):
        keys.read_key(path)
    (tmp_path / "other.key").write_text("{}")
    with pytest.raises(errors.InputError, match="no key"):
        keys.read_key(tmp_path / "other.key")
    with pytest.raises(errors.InputError, match="cannot be read"):
        keys.read_key(tmp_path / "nowhere.key")


def test_the_command(made: tuple[Path, Path]) -> None:
    done = CliRunner().invoke(cli.main, ["web", "token", str(made[1]), "--seconds", "5"])
    assert done.exit_code == 0 and keys.read_key(made[1]).fault(done.output.strip()) == ""
