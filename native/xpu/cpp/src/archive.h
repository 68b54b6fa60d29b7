// An artifact as it lies in memory: what src/oarlock/runtime/artifact.py writes.
#ifndef OARLOCK_ARCHIVE_H_
#define OARLOCK_ARCHIVE_H_

#include <tvm/ffi/extra/json.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "oarlock/oarlock.h"

namespace oarlock {
namespace json = tvm::ffi::json;

struct Weight {
  std::string dtype;
  Shape shape;
  const char* data;
  size_t size;
};

struct Program {
  std::string_view library;
  std::vector<int64_t> weights;  // numbers among the archive's
  json::Object facts;            // the manifest's, with those of the part over it
};

// Every size and offset in it was checked; views are into the bytes it was made of, which must outlive it.
struct Archive {
  Archive(const std::string& bytes, const std::string& where);

  std::string where;
  json::Object manifest;
  std::vector<Tensor> inputs, outputs;
  std::vector<Weight> weights;
  std::vector<std::string> parts;  // names; empty: there is one program

  Program program(const std::string& part) const;  // "" where there are no parts

 private:
  [[noreturn]] void damaged(const std::string& what) const;
  json::Value document(const char* member) const;
  std::vector<Tensor> tensors(const json::Object& signature, const char* key) const;
  std::map<std::string, std::string_view> members_;
};

// Fields of JSON objects; an Error that says what is missing.
std::string text_of(const json::Object& object, const char* key, const char* otherwise);
size_t bytes_of(const std::string& dtype);  // an element's; 0 for an unknown type

}  // namespace oarlock
#endif  // OARLOCK_ARCHIVE_H_
