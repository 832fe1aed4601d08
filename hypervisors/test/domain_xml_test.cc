// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_xml.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hypervisors/libvirt/device_xml.h"
#include "hypervisors/libvirt/file_set.h"
#include "hypervisors/libvirt/memory_device.h"

namespace kata::hypervisors {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

VmSpec FullSpec() {
  VmSpec spec;
  spec.name = "pod-1";
  spec.runtime_dir = "/run/kata-containers/pod-1";
  spec.emulator = "/usr/bin/qemu-system-x86_64";
  spec.machine_type = "q35";
  spec.firmware = "/usr/share/qemu/qboot.rom";
  spec.kernel = "/opt/kata/vmlinux";
  spec.initrd = "/opt/kata/initrd.img";
  spec.kernel_params = "console=ttyS0 a=<&\"'>";
  spec.guest_words["word"] = "value";
  spec.vcpus = 2;
  spec.memory_mib = 300;
  spec.devices.push_back({"share", VirtioFsShare{"kataShared", "/run/kata-containers/pod-1/virtiofs.sock"}});
  return spec;
}

std::string Xml(const VmSpec& spec, bool is_kvm) {
  absl::StatusOr<std::string> xml = DomainXml(spec, MachinePaths(spec.runtime_dir), is_kvm);
  EXPECT_TRUE(xml.ok()) << xml.status();
  return xml.ok() ? *xml : "";
}

TEST(DomainXmlTest, SaysWhatTheSpecSays) {
  const std::string xml = Xml(FullSpec(), false);
  EXPECT_THAT(xml, HasSubstr("<domain type=\"qemu\" "));
  EXPECT_THAT(xml, HasSubstr("<qemu:del capability=\"cpu-unavailable-features\"/>"));
  EXPECT_THAT(xml, HasSubstr("<name>pod-1</name>"));
  EXPECT_THAT(xml, HasSubstr("<memory unit=\"MiB\">300</memory>"));
  EXPECT_THAT(xml, HasSubstr("<vcpu placement=\"static\" current=\"2\">2</vcpu>"));
  EXPECT_THAT(xml, HasSubstr("<type arch=\"x86_64\" machine=\"q35\">hvm</type>"));
  EXPECT_THAT(xml, HasSubstr("<loader readonly=\"yes\" type=\"rom\">/usr/share/qemu/qboot.rom</loader>"));
  EXPECT_THAT(xml, HasSubstr("a=&lt;&amp;"));
  EXPECT_THAT(xml, HasSubstr("name=\"org.kata.agent\""));
  EXPECT_THAT(xml, HasSubstr("<sysinfo type=\"fwcfg\">"));
  EXPECT_THAT(xml, HasSubstr("<entry name=\"opt/org.katacontainers/word\">value</entry>"));
  EXPECT_THAT(xml, HasSubstr("<source type=\"memfd\"/>"));
  EXPECT_THAT(xml, HasSubstr("<target dir=\"kataShared\"/>"));
  EXPECT_THAT(xml, HasSubstr("<memballoon model=\"virtio\" freePageReporting=\"on\">"));
  EXPECT_THAT(xml, HasSubstr("/virtiofs.sock\""));
  EXPECT_THAT(xml, HasSubstr("<qemu:arg value=\"vhost-user-fs-device.event_idx=off\"/>"));
  EXPECT_THAT(xml, HasSubstr("<cpu mode=\"maximum\" check=\"none\">"));
  EXPECT_THAT(xml, HasSubstr("<feature policy=\"disable\" name=\"erms\"/>"));
  const std::string kvm = Xml(FullSpec(), true);
  EXPECT_THAT(kvm, HasSubstr("<domain type=\"kvm\" "));
  EXPECT_THAT(kvm, HasSubstr("<cpu mode=\"host-passthrough\" check=\"none\"/>"));
}

TEST(DomainXmlTest, AnEmulatorKeepsFewTranslations) {
  EXPECT_THAT(Xml(FullSpec(), false), HasSubstr("<tb-cache unit=\"MiB\">32</tb-cache>"));
  EXPECT_THAT(Xml(FullSpec(), true), Not(HasSubstr("<tcg>")));
}

TEST(DomainXmlTest, AnEmulatedMachineHasRoomForTwoProcessors) {
  VmSpec spec = FullSpec();
  spec.vcpus = 1;
  EXPECT_THAT(Xml(spec, false), HasSubstr("<vcpu placement=\"static\" current=\"2\">2</vcpu>"));
  EXPECT_THAT(Xml(spec, true), HasSubstr("<vcpu placement=\"static\" current=\"1\">1</vcpu>"));
}

TEST(DomainXmlTest, AMachineThatCanGrowHasRoomForIt) {
  VmSpec spec = FullSpec();
  spec.vcpus_max = 8;
  spec.memory_max_mib = 300 + 1000;
  spec.root_ports = 2;
  const std::string xml = Xml(spec, true);
  EXPECT_THAT(xml, HasSubstr("<maxMemory slots=\"1\" unit=\"MiB\">1196</maxMemory>"));
  EXPECT_THAT(xml, HasSubstr("<vcpu placement=\"static\" current=\"2\">8</vcpu>"));
  EXPECT_THAT(xml, HasSubstr("<cell id=\"0\" cpus=\"0-7\" memory=\"300\" unit=\"MiB\"/>"));
  EXPECT_THAT(xml, HasSubstr("index=\"3\" model=\"pcie-root-port\""));
  absl::StatusOr<std::string> device = MemoryDeviceXml(spec, 64);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_THAT(*device, HasSubstr("<size unit=\"MiB\">896</size>"));
  EXPECT_THAT(*device, HasSubstr("<requested unit=\"MiB\">64</requested>"));
  EXPECT_THAT(*device, HasSubstr("bus=\"0x03\""));
  EXPECT_THAT(*device, HasSubstr("<alias name=\"ua-memory\"/>"));
  EXPECT_THAT(Xml(spec, false), HasSubstr("<vcpu placement=\"static\" current=\"8\">8</vcpu>"));
  // A part of a block would be lost to the guest.
  spec.memory_max_mib = 300 + 127;
  EXPECT_FALSE(CanGrowInMemory(spec));
  EXPECT_THAT(Xml(spec, true), Not(HasSubstr("maxMemory")));
}

TEST(DomainXmlTest, ASizeIsBroughtWithinBounds) {
  VmSpec spec = FullSpec();
  spec.vcpus_max = 4;
  spec.memory_max_mib = 300 + 1000;
  EXPECT_EQ(WithinBounds(spec, {1, 100}), (MachineSize{2, 300}));
  EXPECT_EQ(WithinBounds(spec, {3, 401}), (MachineSize{3, 404}));
  EXPECT_EQ(WithinBounds(spec, {9, 9000}), (MachineSize{4, 1196}));
  EXPECT_EQ(WithinBounds(FullSpec(), {9, 9000}), (MachineSize{2, 300}));
}

TEST(DomainXmlTest, AMachineToBeSavedIsLaidOutAsItsClones) {
  VmSpec saved = FullSpec();
  saved.is_cloneable = true;
  saved.root_ports = 2;
  saved.devices.clear();
  const std::string xml = Xml(saved, false);
  EXPECT_THAT(xml, HasSubstr("<source type=\"memfd\"/>"));  // as with a share, which comes later
  EXPECT_THAT(xml, HasSubstr("index=\"3\" model=\"pcie-root-port\""));
  EXPECT_THAT(xml, Not(HasSubstr("-incoming")));

  VmSpec clone = saved;
  clone.saved_state = "/templates/one";
  clone.devices = FullSpec().devices;
  clone.devices.push_back({"eth0", NetworkCard{"tap0", "02:00:00:00:00:01", 2}});
  const std::string cloned = Xml(clone, false);
  EXPECT_THAT(cloned, HasSubstr("<qemu:arg value=\"-incoming\"/>"));
  EXPECT_THAT(cloned, HasSubstr("<qemu:arg value=\"defer\"/>"));
  EXPECT_THAT(cloned, Not(HasSubstr("kataShared")));
  EXPECT_THAT(cloned, HasSubstr("tap0"));

  EXPECT_EQ(LatePort(clone), 3u);
  auto late = DeviceXml(clone.devices[0], MachinePaths("/run/x"), 0, DevicePlace::kRootPort, LatePort(clone));
  ASSERT_TRUE(late.ok());
  EXPECT_THAT(*late, HasSubstr("bus=\"0x03\" slot=\"0x00\""));
  clone.memory_max_mib = 4096;
  EXPECT_EQ(LatePort(clone), 4u);  // the memory's has a number of its own
}

TEST(MachineShapeTest, IsOfWhatTheGuestSeesAndNothingElse) {
  VmSpec spec = FullSpec();
  spec.accelerator = Accelerator::kTcg;
  spec.is_cloneable = true;
  spec.kernel = spec.initrd = spec.emulator = "/proc/self/exe";
  spec.firmware.clear();
  spec.emulator = testing::TempDir() + "/qemu-system-x86_64";
  std::ofstream(spec.emulator) << "one";
  const auto shape = ShapeOf(spec);
  ASSERT_TRUE(shape.ok()) << shape.status();

  VmSpec other = spec;
  other.name = "pod-2";
  other.runtime_dir = "/run/kata-containers/pod-2";
  other.uid = 4711;
  other.guest_words["word"] = "another";
  other.devices.clear();
  other.saved_state = "/templates/one";
  EXPECT_EQ(*ShapeOf(other), *shape);

  for (const auto& change : std::vector<std::function<void(VmSpec&)>>{
           [](VmSpec& s) { s.memory_mib = 512; }, [](VmSpec& s) { s.vcpus = 3; }, [](VmSpec& s) { s.vcpus_max = 4; },
           [](VmSpec& s) { s.memory_max_mib = 4096; }, [](VmSpec& s) { s.kernel_params += " x"; },
           [](VmSpec& s) { s.root_ports = 7; }, [](VmSpec& s) { s.has_disk_thread = true; },
           [](VmSpec& s) { s.kernel = "/usr/bin/env"; }, [](VmSpec& s) { s.guest_words["more"] = ""; }}) {
    VmSpec changed = spec;
    change(changed);
    EXPECT_NE(*ShapeOf(changed), *shape);
  }
  std::ofstream(spec.emulator) << "another one";
  EXPECT_NE(*ShapeOf(spec), *shape);
  ::unlink(spec.emulator.c_str());
  EXPECT_FALSE(ShapeOf(spec).ok());
}

TEST(DomainXmlTest, LeavesOutWhatIsNotAsked) {
  VmSpec spec = FullSpec();
  spec.firmware.clear();
  spec.devices.clear();
  const std::string xml = Xml(spec, false);
  for (const char* word : {"loader", "filesystem", "memoryBacking", "qemu:arg"}) EXPECT_THAT(xml, Not(HasSubstr(word)));
}

TEST(DomainXmlTest, VsockOfTheHostReplacesThePort) {
  VmSpec spec = FullSpec();
  spec.devices.push_back({"vsock", HostVsock{}});
  const std::string xml = Xml(spec, false);
  EXPECT_THAT(xml, HasSubstr("<vsock model=\"virtio\">"));
  EXPECT_THAT(xml, HasSubstr("<cid auto=\"yes\"/>"));
  for (const char* word : {"virtio-serial", "org.kata.agent", "vsock-pci"}) EXPECT_THAT(xml, Not(HasSubstr(word)));
}

TEST(DomainXmlTest, VhostUserVsockSharesMemory) {
  VmSpec spec = FullSpec();
  spec.devices.clear();
  VhostUserVsock vsock;
  vsock.socket = spec.runtime_dir + "/vsock/machine";
  spec.devices.push_back({"vsock", vsock});
  const std::string xml = Xml(spec, false);
  EXPECT_THAT(xml, HasSubstr("<source type=\"memfd\"/>"));
  EXPECT_THAT(xml, HasSubstr("socket,id=vsock,path=" + MachinePaths(spec.runtime_dir).short_dir + "/vsock/machine\""));
  EXPECT_THAT(xml, HasSubstr("vhost-user-vsock-pci,chardev=vsock,"));
  for (const char* word : {"virtio-serial", "org.kata.agent", "<vsock"}) EXPECT_THAT(xml, Not(HasSubstr(word)));
}

TEST(DomainXmlTest, ACardIsATapOfTheCallers) {
  VmSpec spec = FullSpec();
  spec.devices.push_back({"net0", NetworkCard{"kata2", "02:00:00:00:00:01", 4}});
  const std::string xml = Xml(spec, false);
  EXPECT_THAT(xml, HasSubstr("<mac address=\"02:00:00:00:00:01\"/>"));
  EXPECT_THAT(xml, HasSubstr("<target dev=\"kata2\" managed=\"no\"/>"));
  EXPECT_THAT(xml, HasSubstr("<driver queues=\"4\"/>"));
  spec.devices.back().kind = NetworkCard{"kata2", "02:00:00:00:00:01", 4, true};
  EXPECT_THAT(Xml(spec, true), HasSubstr("<driver name=\"qemu\" queues=\"4\"/>"));
}

TEST(DomainXmlTest, RootPortsAreThereForWhatComesLater) {
  VmSpec spec = FullSpec();
  spec.root_ports = 9;
  const std::string xml = Xml(spec, false);
  EXPECT_THAT(xml, HasSubstr("index=\"9\" model=\"pcie-root-port\""));
  EXPECT_THAT(xml, Not(HasSubstr("index=\"10\"")));
  EXPECT_THAT(xml, HasSubstr("slot=\"0x18\" function=\"0x7\""));
  EXPECT_THAT(xml, HasSubstr("slot=\"0x19\" function=\"0x0\" multifunction=\"on\""));
  spec.root_ports = 0;
  EXPECT_THAT(Xml(spec, false), Not(HasSubstr("pcie-root-port")));
}

TEST(DomainXmlTest, ADiskIsADescriptorWithASerial) {
  BlockDisk disk;
  disk.serial = "a-serial";
  disk.is_read_only = true;
  disk.file = std::make_shared<const UniqueFd>(::open("/proc/version", O_RDONLY | O_CLOEXEC));
  const MachinePaths paths("/run/x");
  const absl::StatusOr<std::string> xml = DeviceXml({"d1", disk}, paths, 2);
  ASSERT_TRUE(xml.ok()) << xml.status();
  EXPECT_THAT(*xml, HasSubstr("\"" + FileSetPath(FileSetOf(2)) + "\""));
  EXPECT_THAT(*xml, HasSubstr("<target dev=\"vdc\" bus=\"virtio\"/>"));
  EXPECT_THAT(*xml, HasSubstr("<readonly/>"));
  EXPECT_THAT(*xml, HasSubstr("<serial>a-serial</serial>"));
  EXPECT_THAT(*xml, HasSubstr("<alias name=\"" + DeviceAlias("d1") + "\"/>"));
  EXPECT_THAT(*xml, Not(HasSubstr("<address")));  // libvirt finds a free root port
}

BlockDisk SomeDisk() {
  BlockDisk disk;
  disk.serial = "a-serial";
  disk.file = std::make_shared<const UniqueFd>(::open("/proc/version", O_RDONLY | O_CLOEXEC));
  return disk;
}

std::string DriverOf(const BlockDisk& disk, DevicePlace place = DevicePlace::kRootPort, uint32_t thread = 0) {
  auto xml = DeviceXml({"d1", disk}, MachinePaths("/run/x"), 2, place, 0, thread);
  EXPECT_TRUE(xml.ok()) << xml.status();
  if (!xml.ok()) return "";
  const size_t begin = xml->find("<driver ");
  return xml->substr(begin, xml->find("/>", begin) - begin);
}

TEST(DomainXmlTest, ADisksErrorsAreTheGuests) {
  BlockDisk disk = SomeDisk();
  for (const bool is_temporary : {false, true}) {
    disk.is_temporary = is_temporary;
    EXPECT_THAT(DriverOf(disk), HasSubstr(" error_policy=\"report\" rerror_policy=\"report\""));
  }
}

TEST(DomainXmlTest, ADiskHasTheWaysThatAreAskedFor) {
  BlockDisk disk = SomeDisk();
  for (const char* word : {"cache=", "io=", "iothread="}) EXPECT_THAT(DriverOf(disk), Not(HasSubstr(word)));
  disk.ways = {DiskCache::kWriteBack, DiskAio::kIoUring, false};
  EXPECT_THAT(DriverOf(disk), HasSubstr("cache=\"writeback\" io=\"io_uring\""));
  disk.ways = {DiskCache::kDirect, DiskAio::kNative, false};
  EXPECT_THAT(DriverOf(disk), HasSubstr("cache=\"none\" io=\"native\""));
  disk.ways.cache = DiskCache::kUnsafe;
  EXPECT_THAT(DriverOf(disk), HasSubstr("cache=\"unsafe\""));
  EXPECT_THAT(DriverOf(disk), Not(HasSubstr("io=")));  // QEMU refuses it with the page cache
}

TEST(DomainXmlTest, WhatIsThrownAwayIsNeverFlushed) {
  BlockDisk disk = SomeDisk();
  disk.is_temporary = true;
  disk.ways = {DiskCache::kDirect, DiskAio::kNative, false};
  EXPECT_THAT(DriverOf(disk), HasSubstr("cache=\"unsafe\""));
  EXPECT_THAT(DriverOf(disk), Not(HasSubstr("io=")));
}

TEST(DomainXmlTest, DisksHaveThreads) {
  VmSpec spec = FullSpec();
  EXPECT_THAT(Xml(spec, false), Not(HasSubstr("iothreads")));
  EXPECT_EQ(DiskThread(spec, DevicePlace::kRootPort, 3), 0u);
  spec.has_disk_thread = true;
  EXPECT_THAT(Xml(spec, false), HasSubstr("<iothreads>1</iothreads>"));
  EXPECT_EQ(DiskThread(spec, DevicePlace::kScsi, 0), 1u);
  EXPECT_EQ(DiskThread(spec, DevicePlace::kRootPort, 3), 1u);
  spec.port_disk_threads = 2;
  EXPECT_THAT(Xml(spec, false), HasSubstr("<iothreads>3</iothreads>"));
  EXPECT_EQ(DiskThread(spec, DevicePlace::kScsi, 7), 1u);
  EXPECT_EQ(DiskThread(spec, DevicePlace::kRootPort, 2), 2u);
  EXPECT_EQ(DiskThread(spec, DevicePlace::kRootPort, 3), 3u);
  spec.has_disk_thread = false;
  EXPECT_EQ(DiskThread(spec, DevicePlace::kScsi, 0), 0u);
  EXPECT_EQ(DiskThread(spec, DevicePlace::kRootPort, 3), 2u);
  spec.port_disk_threads = kPortDiskThreadsMax + 1;
  EXPECT_FALSE(DomainXml(spec, MachinePaths(spec.runtime_dir), false).ok());

  EXPECT_THAT(DriverOf(SomeDisk(), DevicePlace::kRootPort, 2), HasSubstr("iothread=\"2\""));
  EXPECT_THAT(DriverOf(SomeDisk(), DevicePlace::kScsi, 2), Not(HasSubstr("iothread")));  // its controller has it
  EXPECT_THAT(*ScsiControllerXml(2), HasSubstr("<driver iothread=\"2\"/>"));
  EXPECT_THAT(*ScsiControllerXml(), Not(HasSubstr("driver")));
}

TEST(DomainXmlTest, AShareHasAQueueOfTheSizeAskedFor) {
  VmSpec spec = FullSpec();
  EXPECT_THAT(Xml(spec, false), HasSubstr("queue=\"1024\""));
  std::get<VirtioFsShare>(spec.devices[0].kind).queue_size = 64;
  EXPECT_THAT(Xml(spec, false), HasSubstr("queue=\"64\""));
}

TEST(DomainXmlTest, WhatADeviceMayNotBeIsNamed) {
  const MachinePaths paths("/run/x");
  BlockDisk disk;
  disk.serial = "x";
  EXPECT_THAT(std::string(DeviceXml({"a'b", disk}, paths, 0).status().message()), HasSubstr("its id must be"));
  EXPECT_THAT(std::string(DeviceXml({"d", disk}, paths, 0).status().message()), HasSubstr("its file is not open"));
  disk.serial = std::string(21, 'x');
  EXPECT_THAT(std::string(DeviceXml({"d", disk}, paths, 0).status().message()),
              HasSubstr("must be 1 to 20 characters"));
  EXPECT_TRUE(absl::IsFailedPrecondition(DeviceXml({"v", HostVsock{}}, paths, 0).status()));
}

TEST(DomainXmlTest, NineP) {
  VmSpec spec = FullSpec();
  spec.devices.clear();
  spec.devices.push_back({"share", NinePShare{"tag", "/run/share"}});
  const std::string xml = Xml(spec, false);
  EXPECT_THAT(xml, HasSubstr("<source dir=\"/run/share\"/>"));
  EXPECT_THAT(xml, HasSubstr("accessmode=\"passthrough\""));
}

TEST(DomainXmlTest, RejectsAnEmulatorWithoutArchitecture) {
  VmSpec spec = FullSpec();
  spec.emulator = "/usr/bin/qemu-kvm";
  EXPECT_EQ(DomainXml(spec, MachinePaths(spec.runtime_dir), false).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(DomainXmlTest, FitsTheSchema) {
  if (std::system("command -v virt-xml-validate >/dev/null") != 0) GTEST_SKIP() << "virt-xml-validate is missing";
  char path[] = "/tmp/kata-domain-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  close(fd);
  VmSpec spec = FullSpec();
  std::ofstream(path) << Xml(spec, false);
  EXPECT_EQ(std::system((std::string("virt-xml-validate ") + path + " domain").c_str()), 0);
  spec.devices.clear();
  spec.devices.push_back({"share", NinePShare{"tag", "/run/share"}});
  std::ofstream(path) << Xml(spec, true);
  EXPECT_EQ(std::system((std::string("virt-xml-validate ") + path + " domain").c_str()), 0);
  unlink(path);
}

TEST(MachinePathsTest, SocketsFitWhateverTheNameIs) {
  const MachinePaths paths("/run/kata-containers/" + std::string(96, 'x'));
  EXPECT_LT(paths.agent_socket.size(), 108u);
  // libvirt's longest socket below its root.
  EXPECT_LT(paths.libvirt_root.size() + std::string("/lib/qemu/domain-1-12345678901234567890/monitor.sock").size(),
            108u);
  EXPECT_EQ(paths.Shorten(paths.runtime_dir + "/a"), paths.short_dir + "/a");
  EXPECT_EQ(paths.Shorten(paths.runtime_dir + "x/a"), paths.runtime_dir + "x/a");
}

TEST(DomainNameTest, KeepsPlainNamesAndTellsOthersApart) {
  EXPECT_EQ(DomainName("pod-1"), "pod-1");
  const std::string id(64, 'a');
  EXPECT_LE(DomainName(id).size(), 41u);
  EXPECT_NE(DomainName(id), DomainName(id + "b"));
  EXPECT_NE(DomainName("a_b"), DomainName("a.b"));
  EXPECT_NE(DomainName("..."), DomainName(".."));
  EXPECT_THAT(DomainName("a_b--c."), ::testing::MatchesRegex("ab-c-[0-9a-f]+"));
}

}  // namespace
}  // namespace kata::hypervisors
