// SPDX-License-Identifier: Apache-2.0
// protoc-gen-kata-ttrpc: writes X.ttrpc.h for X.proto: for each service a base class to implement
// and a client stub. Every kind of streaming method becomes a MessageStream; a method that streams
// from the client only is answered with a data frame, which peers other than this library do not
// expect.
#include <google/protobuf/compiler/code_generator.h>
#include <google/protobuf/compiler/plugin.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace {

namespace pb = google::protobuf;
using Vars = std::map<std::string, std::string>;

std::string ReplaceAll(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The C++ class of a message; nested ones are Outer_Inner.
std::string ClassName(const pb::Descriptor* message) {
  std::string name = message->name();
  for (auto* outer = message->containing_type(); outer; outer = outer->containing_type()) {
    name = outer->name() + "_" + name;
  }
  const std::string& package = message->file()->package();
  if (package.empty()) return "::" + name;
  return "::" + ReplaceAll(package, ".", "::") + "::" + name;
}

bool IsStream(const pb::MethodDescriptor* method) { return method->client_streaming() || method->server_streaming(); }

Vars MethodVars(const pb::MethodDescriptor* method) {
  return {{"service", method->service()->name()},
          {"method", method->name()},
          {"in", ClassName(method->input_type())},
          {"out", ClassName(method->output_type())}};
}

void PrintBase(const pb::ServiceDescriptor* service, pb::io::Printer& out) {
  out.Print(
      "// To be implemented; must outlive the maps it is registered in.\n"
      "class $name$Service {\n"
      " public:\n"
      "  static constexpr char kServiceName[] = \"$full$\";\n"
      "  virtual ~$name$Service() = default;\n",
      "name", service->name(), "full", service->full_name());
  for (int i = 0; i < service->method_count(); ++i) {
    const auto* method = service->method(i);
    out.Print(MethodVars(method),
              IsStream(method) ? "  virtual ::kata::Co<::absl::Status> $method$(\n"
                                 "      ::kata::ttrpc::CallContext context,\n"
                                 "      ::std::shared_ptr<::kata::ttrpc::MessageStream<$in$, $out$>> stream) = 0;\n"
                               : "  virtual ::kata::Co<::absl::StatusOr<$out$>> $method$(\n"
                                 "      ::kata::ttrpc::CallContext context, $in$ request) = 0;\n");
  }
  out.Print(
      "  // `name`: another one under which the same methods are known.\n"
      "  void Register(::kata::ttrpc::ServiceMap& map, const ::std::string& name = kServiceName) {\n");
  for (int i = 0; i < service->method_count(); ++i) {
    const auto* method = service->method(i);
    out.Print(MethodVars(method), IsStream(method)
                                      ? "    ::kata::ttrpc::AddStreamMethod<$service$Service, $in$, $out$>(\n"
                                        "        map, name, \"$method$\", this, &$service$Service::$method$);\n"
                                      : "    ::kata::ttrpc::AddUnaryMethod<$service$Service, $in$, $out$>(\n"
                                        "        map, name, \"$method$\", this, &$service$Service::$method$);\n");
  }
  out.Print("  }\n};\n\n");
}

void PrintClient(const pb::ServiceDescriptor* service, pb::io::Printer& out) {
  out.Print(
      "class $name$Client {\n"
      " public:\n"
      "  static constexpr char kServiceName[] = \"$full$\";\n"
      "  explicit $name$Client(::std::shared_ptr<::kata::ttrpc::Connection> connection)\n"
      "      : connection_(::std::move(connection)) {}\n",
      "name", service->name(), "full", service->full_name());
  for (int i = 0; i < service->method_count(); ++i) {
    const auto* method = service->method(i);
    out.Print(MethodVars(method),
              IsStream(method) ? "  ::kata::Co<::absl::StatusOr<::std::shared_ptr<::kata::ttrpc::MessageStream<$out$, "
                                 "$in$>>>>\n"
                                 "  $method$() {\n"
                                 "    return ::kata::ttrpc::OpenMessageStream<$out$, $in$>(connection_, kServiceName, "
                                 "\"$method$\");\n"
                                 "  }\n"
                               : "  ::kata::Co<::absl::StatusOr<$out$>> $method$(\n"
                                 "      $in$ request, ::std::chrono::nanoseconds timeout,\n"
                                 "      ::kata::ttrpc::Metadata metadata) {\n"
                                 "    return ::kata::ttrpc::CallUnary<$in$, $out$>(connection_, kServiceName, "
                                 "\"$method$\",\n"
                                 "                                                 ::std::move(request), timeout,\n"
                                 "                                                 ::std::move(metadata));\n"
                                 "  }\n"
                                 "  ::kata::Co<::absl::StatusOr<$out$>> $method$(\n"
                                 "      $in$ request, ::std::chrono::nanoseconds timeout) {\n"
                                 "    return $method$(::std::move(request), timeout, ::kata::ttrpc::Metadata());\n"
                                 "  }\n");
  }
  out.Print(
      "\n private:\n"
      "  ::std::shared_ptr<::kata::ttrpc::Connection> connection_;\n"
      "};\n\n");
}

class Generator : public pb::compiler::CodeGenerator {
 public:
  uint64_t GetSupportedFeatures() const override { return FEATURE_PROTO3_OPTIONAL; }

  bool Generate(const pb::FileDescriptor* file, const std::string&, pb::compiler::GeneratorContext* context,
                std::string*) const override {
    const std::string base = file->name().substr(0, file->name().rfind(".proto"));
    std::unique_ptr<pb::io::ZeroCopyOutputStream> stream(context->Open(base + ".ttrpc.h"));
    pb::io::Printer out(stream.get(), '$');
    out.Print(
        "// Generated by protoc-gen-kata-ttrpc from $file$; do not edit.\n"
        "#pragma once\n\n"
        "#include <chrono>\n#include <memory>\n#include <utility>\n\n"
        "#include \"$base$.pb.h\"\n"
        "#include \"proto/ttrpc/connection.h\"\n"
        "#include \"proto/ttrpc/message_stream.h\"\n\n",
        "file", file->name(), "base", base);
    const std::string name_space = ReplaceAll(file->package(), ".", "::");
    if (!name_space.empty()) out.Print("namespace $n$ {\n\n", "n", name_space);
    for (int i = 0; i < file->service_count(); ++i) {
      PrintBase(file->service(i), out);
      PrintClient(file->service(i), out);
    }
    if (!name_space.empty()) out.Print("}  // namespace $n$\n", "n", name_space);
    return !out.failed();
  }
};

}  // namespace

int main(int argc, char** argv) {
  Generator generator;
  return pb::compiler::PluginMain(argc, argv, &generator);
}
