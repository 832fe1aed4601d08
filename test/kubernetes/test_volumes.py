# SPDX-License-Identifier: Apache-2.0
"""Volumes that the kubelet makes and changes: a ConfigMap's files, memory-backed emptyDirs, paths within a volume."""
from space import config_map, container, pod, shell

MEBI = 1 << 20


def test_config_map_update(space):
    """The kubelet swaps a link on the host; a container sees the new text, or the old one, and nothing between."""
    space.run(config_map("settings", color="green", gone="soon"),
              pod("p", container("c", volumeMounts=[{"name": "settings", "mountPath": "/settings"}]),
                  volumes=[{"name": "settings", "configMap": {"name": "settings"}}]))
    assert space.output("p", "cat", "/settings/color") == "green"
    space.apply(config_map("settings", color="blue", more="yes"))
    seen = set()

    def color():
        seen.add(space.output("p", "cat", "/settings/color"))
        return "blue" in seen
    space.until(color, "the new text")
    assert seen <= {"green", "blue"}
    assert space.output("p", "ls", "/settings").split() == ["color", "more"]


def test_memory_volume(space):
    mounts = {"volumeMounts": [{"name": "m", "mountPath": "/m"}]}
    space.run(pod("p", container("c", **mounts), container("side", **mounts),
                  volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}]))
    line, = [line for line in space.output("p", "cat", "/proc/mounts").splitlines() if " /m " in line]
    assert line.split()[2] == "tmpfs"
    assert space.output("p", "stat", "-c", "%a", "/m") == "1777"
    space.output("p", "sh", "-c", "echo shared > /m/file")
    assert space.output("p", "cat", "/m/file", container_name="side") == "shared"
    space.output("p", "sh", "-c", f"dd if=/dev/zero of=/m/big bs={MEBI} count=16 2>/dev/null")
    assert space.output("p", "stat", "-c", "%s", "/m/big", container_name="side") == str(16 * MEBI)


def test_memory_volume_outlives_a_container(space):
    mounts = {"volumeMounts": [{"name": "m", "mountPath": "/m"}]}
    script = "echo run >> /m/runs; [ $(wc -l < /m/runs) = 2 ] || exit 1; sleep 100000"
    space.apply(pod("p", shell("c", script, **mounts),
                    volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}]))
    space.wait_run("p", 1)


def test_path_within_a_volume(space):
    space.run(config_map("settings", color="green"),
              pod("p", container("c", volumeMounts=[
                  {"name": "v", "mountPath": "/part", "subPath": "a/b"},
                  {"name": "settings", "mountPath": "/etc/color", "subPath": "color"}]),
                  container("side", volumeMounts=[{"name": "v", "mountPath": "/all"}]),
                  volumes=[{"name": "v", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "settings"}}]))
    space.output("p", "sh", "-c", "echo inner > /part/file")
    assert space.output("p", "cat", "/all/a/b/file", container_name="side") == "inner"
    assert space.output("p", "cat", "/etc/color") == "green"


def test_host_path(space):
    folder = f"/var/lib/of-{space.name}"
    space.run(pod("p", container("c", volumeMounts=[{"name": "h", "mountPath": "/h"}]),
                  volumes=[{"name": "h", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}]))
    with open(f"{folder}/from-host", "w", encoding="utf-8") as file:
        file.write("host")
    space.until(lambda: space.exec("p", "cat", "/h/from-host").out == b"host", "the file of the host")
