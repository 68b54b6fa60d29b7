#include "archive.h"

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

namespace oarlock {
namespace {
namespace ffi = tvm::ffi;
constexpr const char* kAgain = "copy the artifact again, or compile the model again";

std::string join(const std::string& message, const std::string& where, const std::string& todo) {
  return message + (where.empty() ? "" : "\n  where: " + where) + (todo.empty() ? "" : "\n  to do: " + todo);
}

template <typename T>
T number(std::string_view bytes, size_t at) {  // of a zip archive: little-endian, at no particular alignment
  T value{};
  if (bytes.size() >= sizeof(T) && at <= bytes.size() - sizeof(T)) memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      made[i] = c;
    }
    return made;
  }();
  uint32_t c = ~0u;
  for (unsigned char byte : bytes) c = table[(c ^ byte) & 255] ^ (c >> 8);
  return ~c;
}

// The members of a zip archive whose members are stored as they are; `fail` throws.
template <typename F>
std::map<std::string, std::string_view> members_of(std::string_view file, F fail) {
  constexpr size_t kEnd = 22, kEntry = 46, kLocal = 30;
  if (file.size() < kEnd || file.substr(0, 4) != "PK\x03\x04") fail("it is no Oarlock artifact (no zip archive)");
  size_t end = file.rfind("PK\x05\x06");
  if (end == std::string_view::npos || end > file.size() - kEnd) fail("it is cut short");
  uint64_t at = number<uint32_t>(file, end + 16), count = number<uint16_t>(file, end + 10);
  if (at == UINT32_MAX || count == UINT16_MAX) {  // larger than 4 GB: another directory says so
    if (end < 20 || file.substr(end - 20, 4) != "PK\x06\x07") fail("its directory is damaged");
    const auto there = number<uint64_t>(file, end - 20 + 8);
    if (there > file.size() - kEnd || file.substr(there, 4) != "PK\x06\x06") fail("its directory is damaged");
    count = number<uint64_t>(file, there + 32);
    at = number<uint64_t>(file, there + 48);
  }
  std::map<std::string, std::string_view> members;
  for (uint64_t i = 0; i < count; ++i) {
    if (file.size() < kEntry || at > file.size() - kEntry || file.substr(at, 4) != "PK\x01\x02") fail("its directory is damaged");
    const size_t name_size = number<uint16_t>(file, at + 28), extra_size = number<uint16_t>(file, at + 30);
    const size_t rest = name_size + extra_size + number<uint16_t>(file, at + 32);
    if (rest > file.size() - at - kEntry) fail("its directory is damaged");
    const std::string name(file.substr(at + kEntry, name_size));
    uint64_t packed = number<uint32_t>(file, at + 20), size = number<uint32_t>(file, at + 24), start = number<uint32_t>(file, at + 42);
    std::string_view extra = file.substr(at + kEntry + name_size, extra_size);
    while (extra.size() >= 4) {
      const size_t length = number<uint16_t>(extra, 2);
      if (number<uint16_t>(extra, 0) == 1) {  // the sizes that did not fit above, in this order
        size_t next = 4;
        for (uint64_t* field : {&size, &packed, &start})
          if (*field == UINT32_MAX) {
            *field = number<uint64_t>(extra, next);
            next += 8;
          }
      }
      if (length > extra.size() - 4) break;
      extra.remove_prefix(4 + length);
    }
    if (number<uint16_t>(file, at + 10) || packed != size) fail(name + " is compressed: do not repack artifacts with a zip tool");
    if (start > file.size() - kLocal || file.substr(start, 4) != "PK\x03\x04") fail(name + " lies outside the file");
    start += kLocal + number<uint16_t>(file, start + 26) + number<uint16_t>(file, start + 28);
    if (start > file.size() || size > file.size() - start) fail(name + " lies outside the file");
    const std::string_view content = file.substr(start, size);
    if (crc32(content) != number<uint32_t>(file, at + 16)) fail(name + " is damaged (its checksum is wrong)");
    if (!members.emplace(name, content).second) fail(name + " stands twice in it");
    at += kEntry + rest;
  }
  return members;
}
}  // namespace

Error::Error(const std::string& message, const std::string& where, const std::string& todo)
    : std::runtime_error(join(message, where, todo)), message_(message), where_(where), todo_(todo) {}

size_t bytes_of(const std::string& dtype) {
  static const std::map<std::string, size_t> sizes = {{"bool", 1},    {"int8", 1},  {"uint8", 1},  {"int16", 2},    {"uint16", 2},
                                                      {"float16", 2}, {"int32", 4}, {"uint32", 4}, {"bfloat16", 2}, {"float32", 4},
                                                      {"int64", 8},   {"uint64", 8}, {"float64", 8}};
  auto it = sizes.find(dtype);
  return it == sizes.end() ? 0 : it->second;
}

std::string text_of(const json::Object& object, const char* key, const char* otherwise) {
  auto it = object.find(ffi::String(key));
  if (it == object.end()) return otherwise;
  auto text = (*it).second.as<ffi::String>();
  return text ? std::string(*text) : otherwise;
}

void Archive::damaged(const std::string& what) const { throw Error("the artifact is damaged: " + what, where, kAgain); }

json::Value Archive::document(const char* member) const {
  auto it = members_.find(member);
  if (it == members_.end()) damaged(std::string("it has no ") + member);
  ffi::String error;
  json::Value value = json::Parse(ffi::String(it->second.data(), it->second.size()), &error);
  if (!error.empty()) damaged(std::string(member) + ": " + std::string(error));
  return value;
}

std::vector<Tensor> Archive::tensors(const json::Object& signature, const char* key) const {
  auto it = signature.find(ffi::String(key));
  auto list = it == signature.end() ? std::nullopt : (*it).second.as<json::Array>();
  if (!list) damaged("its signature has no " + std::string(key));
  std::vector<Tensor> found;
  for (const json::Value& entry : *list) {
    auto fields = entry.as<json::Object>();
    if (!fields) damaged("an entry of its signature is no object");
    Tensor tensor{text_of(*fields, "name", ""), text_of(*fields, "dtype", ""), {}};
    if (!bytes_of(tensor.dtype)) throw Error("the C++ API has no elements of type " + tensor.dtype, where + ", " + tensor.name);
    auto shape = fields->find(ffi::String("shape"));
    if (auto dims = shape == fields->end() ? std::nullopt : (*shape).second.as<json::Array>())
      for (const json::Value& dim : *dims) {
        if (auto size = dim.as<int64_t>())
          tensor.dims.push_back(std::to_string(*size));
        else if (auto symbol = dim.as<ffi::String>())
          tensor.dims.push_back(*symbol);
        else
          tensor.dims.push_back("?");
      }
    found.push_back(std::move(tensor));
  }
  return found;
}

Archive::Archive(const std::string& bytes, const std::string& where) : where(where) {
  members_ = members_of(bytes, [&](const std::string& what) { damaged(what); });
  auto top = document("manifest.json").as<json::Object>();
  if (!top || text_of(*top, "format", "") != "oarlock") damaged("its manifest does not say that it is one");
  manifest = *top;
  auto version = manifest.find(ffi::String("format_version"));
  const int64_t format = version == manifest.end() ? 0 : (*version).second.as<int64_t>().value_or(0);
  if (format < 1 || format > 2)
    throw Error("the artifact has format " + std::to_string(format) + ", and this library reads up to 2", where,
                "use a newer one, or compile the model again");
  auto signature = document("signature.json").as<json::Object>();
  if (!signature) damaged("signature.json is no object");
  inputs = tensors(*signature, "inputs");
  outputs = tensors(*signature, "outputs");
  auto index = document("weights.json").as<json::Array>();
  auto data = members_.find("weights.bin");
  if (!index || data == members_.end()) damaged("it has no weights");
  for (const json::Value& entry : *index) {
    auto fields = entry.as<json::Object>();
    if (!fields) damaged("weights.json");
    auto integer = [&](const char* key) {
      auto it = fields->find(ffi::String(key));
      auto value = it == fields->end() ? std::nullopt : (*it).second.as<int64_t>();
      if (!value || *value < 0) damaged("weights.json: " + std::string(key));
      return static_cast<size_t>(*value);
    };
    Weight weight{text_of(*fields, "dtype", ""), {}, nullptr, integer("bytes")};
    size_t expected = bytes_of(weight.dtype);
    if (!expected) throw Error("the C++ API has no weights of type " + weight.dtype, where);
    auto shape = fields->find(ffi::String("shape"));
    auto dims = shape == fields->end() ? std::nullopt : (*shape).second.as<json::Array>();
    if (!dims) damaged("weights.json: shape");
    for (const json::Value& dim : *dims) {
      auto size = dim.as<int64_t>();
      if (!size || *size < 0 || (*size && expected > SIZE_MAX / static_cast<size_t>(*size))) damaged("weights.json: shape");
      weight.shape.push_back(*size);
      expected *= static_cast<size_t>(*size);
    }
    const size_t offset = integer("offset"), all = data->second.size();
    if (weight.size != expected || offset > all || weight.size > all - offset) damaged("a weight lies outside weights.bin");
    weight.data = data->second.data() + offset;
    weights.push_back(std::move(weight));
  }
  auto listed = manifest.find(ffi::String("parts"));
  if (auto entries = listed == manifest.end() ? std::nullopt : (*listed).second.as<json::Array>())
    for (const json::Value& entry : *entries) {
      auto fields = entry.as<json::Object>();
      parts.push_back(fields ? text_of(*fields, "name", "") : "");
    }
}

Program Archive::program(const std::string& part) const {
  Program program{{}, {}, manifest};
  std::string library = "library.so";
  if (parts.empty()) {
    for (size_t i = 0; i < weights.size(); ++i) program.weights.push_back(static_cast<int64_t>(i));
  } else {
    const auto entries = manifest[ffi::String("parts")].cast<json::Array>();
    for (const json::Value& entry : entries) {
      auto fields = entry.as<json::Object>();
      if (!fields || text_of(*fields, "name", "") != part) continue;
      library = text_of(*fields, "library", "");
      if (fields->count(ffi::String("facts")))
        if (auto facts = (*fields)[ffi::String("facts")].as<json::Object>())
          for (const auto& [key, value] : *facts) program.facts.Set(key, value);
      auto numbers = fields->count(ffi::String("weights")) ? (*fields)[ffi::String("weights")].as<json::Array>() : std::nullopt;
      if (!numbers) damaged("a part has no weights");
      for (const json::Value& value : *numbers) {
        auto n = value.as<int64_t>();
        if (!n || *n < 0 || *n >= static_cast<int64_t>(weights.size())) damaged("a weight of a part is none of the artifact's");
        program.weights.push_back(*n);
      }
    }
  }
  auto it = members_.find(library);
  if (it == members_.end()) damaged("it has no library for " + (part.empty() ? std::string("its program") : part));
  program.library = it->second;
  return program;
}

// ---- models

Model::Model(std::string bytes, std::string where)
    : bytes_(std::make_shared<const std::string>(std::move(bytes))), where_(std::move(where)) {}

Model Model::from_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("the artifact cannot be read", path);
  return Model(std::string(std::istreambuf_iterator<char>(file), {}), path);
}

Model Model::from_memory(const void* data, size_t size) {
  return Model(std::string(static_cast<const char*>(data), size), "an artifact in memory");
}

Model Model::from_stream(std::istream& stream) {
  return Model(std::string(std::istreambuf_iterator<char>(stream), {}), "an artifact from a stream");
}

const std::string& Model::bytes() const { return *bytes_; }

void Model::save(const std::string& path) const {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes_->data(), static_cast<std::streamsize>(bytes_->size()));
  file.close();
  if (!file) throw Error("the artifact cannot be written", path);
}

}  // namespace oarlock
