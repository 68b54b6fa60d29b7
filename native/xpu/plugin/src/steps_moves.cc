// Moves of elements: any type, by its size.
#include "steps.h"

namespace oarlock_xpu {
namespace {

int transpose(const Call& call) {
  const View &x = call.get("x"), &y = call.output;
  const auto permute = call.step.list("permute", x.shape.size());
  call.need(x.rank() == y.rank() && equal(x.dtype, y.dtype), "the result has another rank or type");
  for (int i = 0; i < x.rank(); ++i)
    call.need(permute[i] >= 0 && permute[i] < x.rank() && y.shape[i] == x.shape[permute[i]], "the result has another shape");
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return api::transpose<T>(call.context, x.as<T>(), y.as<T>(), x.shape, permute);
  });
}

int concat(const Call& call) {
  const View& y = call.output;
  int axis = static_cast<int>(call.step.integer("axis"));
  if (axis < 0) axis += y.rank();
  call.need(axis >= 0 && axis < y.rank() && !call.inputs.empty(), "there is no such dim, or nothing to join");
  int64_t whole = 0;
  std::vector<std::vector<int64_t>> shapes;
  for (const View& x : call.inputs) {
    call.need(x.rank() == y.rank() && equal(x.dtype, y.dtype), "a tensor has another rank or type than the result");
    for (int i = 0; i < y.rank(); ++i) call.need(i == axis || x.shape[i] == y.shape[i], "a tensor has another shape than the result");
    whole += x.shape[axis];
    shapes.push_back(x.shape);
  }
  call.need(whole == y.shape[axis], "the result has another length");
  if (!y.size()) return api::SUCCESS;
  return by_size(call, y, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    std::vector<const T*> data;
    for (const View& x : call.inputs) data.push_back(x.as<T>());
    return api::concat<T>(call.context, data, y.as<T>(), shapes, axis);
  });
}

// As many results as there are parts along the axis.
int split(const Call& call) {
  const View& x = call.get("x");
  int axis = static_cast<int>(call.step.integer("axis"));
  axis += axis < 0 ? x.rank() : 0;
  call.need(axis >= 0 && axis < x.rank(), "there is no such dim");
  std::vector<const View*> parts{&call.output};
  for (const View& view : call.outputs) parts.push_back(&view);
  std::vector<int64_t> sizes;
  int64_t whole = 0;
  for (const View* y : parts) {
    const int64_t around = x.shape[axis] ? x.size() / x.shape[axis] : 0;
    call.need(equal(x.dtype, y->dtype) && around && y->size() % around == 0, "a part has another shape or type");
    sizes.push_back(y->size() / around);
    whole += sizes.back();
  }
  call.need(whole == x.shape[axis], "the parts are more or less than the whole");
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    std::vector<T*> data;
    for (const View* y : parts) data.push_back(y->as<T>());
    return api::split<T>(call.context, x.as<T>(), data, x.shape, sizes, axis);
  });
}

// "begins", "strides" of each dim of x; "dims": which dim of x each dim of the result goes along, -1: none, it repeats.  Negative begins
// count from the end.
int strided_slice(const Call& call) {
  const View &x = call.get("x"), &y = call.output;
  const auto begins = call.step.list("begins", x.rank()), strides = call.step.list("strides", x.rank());
  const auto dims = call.step.list("dims", y.rank());
  call.need(equal(x.dtype, y.dtype), "the result has another type");
  std::vector<int64_t> steps(y.rank(), 0);
  int64_t start = 0;
  std::vector<int64_t> last(x.rank());
  for (int d = 0; d < x.rank(); ++d) {
    last[d] = begins[d] < 0 ? begins[d] + x.shape[d] : begins[d];
    start += last[d] * x.from(d + 1);
    call.need(!y.size() || (last[d] >= 0 && last[d] < x.shape[d]), "it begins outside of the tensor");
  }
  for (int d = 0; d < y.rank(); ++d) {
    if (dims[d] < 0) continue;
    call.need(dims[d] < x.rank(), "there is no such dim");
    last[dims[d]] += (y.shape[d] - 1) * strides[dims[d]];
    call.need(!y.size() || (last[dims[d]] >= 0 && last[dims[d]] < x.shape[dims[d]]), "it ends outside of the tensor");
    steps[d] = strides[dims[d]] * x.from(dims[d] + 1);
  }
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return api::strided_slice<T>(call.context, x.as<T>(), y.as<T>(), y.shape, start, steps);
  });
}

int pad(const Call& call) {
  const View &x = call.get("x"), &y = call.output;
  call.need(x.rank() == y.rank() && equal(x.dtype, y.dtype), "the result has another rank or type");
  const auto given = call.step.list("before", x.rank());
  std::vector<int64_t> before(given.begin(), given.end()), after;
  for (int d = 0; d < x.rank(); ++d) after.push_back(y.shape[d] - x.shape[d] - before[d]);
  const double value = call.step.number("value", 0);
  if (is_float(x))
    return api::pad<float>(call.context, x.as<float>(), y.as<float>(), x.shape, before, after, static_cast<float>(value));
  call.need(x.dtype.code != kDLFloat || value == 0, "floats of this type are padded with zeros only");
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return api::pad<T>(call.context, x.as<T>(), y.as<T>(), x.shape, before, after, static_cast<T>(value));
  });
}

int gather(const Call& call) {
  const View &x = call.get("x"), &index = call.get("index"), &y = call.output;
  const int axis = static_cast<int>(call.step.integer("axis", 0));
  call.need(axis >= 0 && axis < x.rank() && equal(x.dtype, y.dtype), "there is no such dim, or the result has another type");
  call.need(x.shape[axis] == 0 || y.size() == x.size() / x.shape[axis] * index.size(), "the result has another size");
  return by_size(call, x, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return by_index(call, index, [&](auto* at) {
      return api::gather<T, std::remove_pointer_t<decltype(at)>>(call.context, x.as<T>(), at, y.as<T>(), x.shape, index.size(), axis);
    });
  });
}

int embedding(const Call& call) {
  const View &table = call.get("table"), &ids = call.get("ids"), &y = call.output;
  call.need(table.rank() == 2 && equal(table.dtype, y.dtype) && y.size() == ids.size() * table.shape[1],
            "the result has another size or type");
  return by_size(call, table, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    return by_index(call, ids, [&](auto* at) {
      using TI = std::remove_pointer_t<decltype(at)>;
      return api::embedding<T, TI>(call.context, table.as<T>(), at, y.as<T>(), table.shape[0], table.shape[1], ids.size(),
                                   call.step.integer("padding", INT64_MIN));
    });
  });
}

// "table0", "ids0", "table1", … and "scale" and "bias" of a layer_norm.
int multi_embedding(const Call& call) {
  const View& y = call.need_float("result");
  std::vector<const float*> tables;
  std::vector<int64_t> rows, counts;
  std::vector<const View*> ids;
  const int64_t width = y.shape.empty() ? 0 : y.shape.back();
  for (int k = 0; call.find(("table" + std::to_string(k)).c_str()); ++k) {
    const View& table = call.need_float(("table" + std::to_string(k)).c_str());
    ids.push_back(&call.get(("ids" + std::to_string(k)).c_str()));
    call.need(table.rank() == 2 && table.shape[1] == width && equal(ids[k]->dtype, ids[0]->dtype),
              "a table, or its ids, are not as the others");
    tables.push_back(table.as<float>());
    rows.push_back(table.shape[0]);
    counts.push_back(ids[k]->size());
  }
  const int64_t count = width ? y.size() / width : 0;
  for (int64_t some : counts) call.need(!count || (some && count % some == 0), "the ids are not as many as the rows of the result");
  return by_index(call, *ids.at(0), [&](auto* first) {
    using T = std::remove_pointer_t<decltype(first)>;
    std::vector<const T*> places;
    for (const View* view : ids) places.push_back(view->as<T>());
    return api::multi_embedding_fusion<float, T>(call.context, tables, places, y.as<float>(), rows, counts, width, count,
                                                 static_cast<float>(call.step.number("eps", 1e-5)), call.vector_of("scale", width),
                                                 call.vector_of("bias", width), call.y_max());
  });
}

int select(const Call& call) {
  const View &condition = call.get("condition"), &x = call.get("x"), &y = call.get("y"), &z = call.output;
  call.need(is_bool(condition) || condition.dtype.bits == 8, "the condition is not bool");
  call.need(equal(x.dtype, y.dtype) && equal(x.dtype, z.dtype) && z.dtype.bits != 16, "the types differ, or are of 2 bytes");
  return by_size(call, z, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if constexpr (sizeof(T) == 2) {
      return static_cast<int>(api::NOT_IMPLEMENT);
    } else {
      return api::select<T>(call.context, condition.as<bool>(), x.as<T>(), y.as<T>(), z.as<T>(), condition.shape, x.shape, y.shape,
                            z.shape);
    }
  });
}

int cast(const Call& call) {
  const View &x = call.get("x"), &y = call.output;
  call.need(x.size() == y.size(), "the result has another size");
#define XPU_CAST(from, TX, to, TY) \
  if (from(x) && to(y)) return api::cast<TX, TY>(call.context, x.as<TX>(), y.as<TY>(), x.size());
  auto f32 = [](const View& v) { return is_float(v); };
  auto f16 = [](const View& v) { return is_float(v, 16); };
  auto i32 = [](const View& v) { return is_int(v, 32); };
  auto i64 = [](const View& v) { return is_int(v, 64); };
  XPU_CAST(f32, float, i32, int32_t)
  XPU_CAST(f32, float, i64, int64_t)
  XPU_CAST(i32, int32_t, f32, float)
  XPU_CAST(i64, int64_t, f32, float)
  XPU_CAST(i32, int32_t, i64, int64_t)
  XPU_CAST(i64, int64_t, i32, int32_t)
  XPU_CAST(is_bool, bool, f32, float)
  XPU_CAST(is_bool, bool, i32, int32_t)
  XPU_CAST(is_bool, bool, i64, int64_t)
  XPU_CAST(f32, float, f16, api::float16)
  XPU_CAST(f16, api::float16, f32, float)
#undef XPU_CAST
  call.fail("there is no cast between these types");
}

// No inputs: the value is an attribute.
int constant(const Call& call) {
  const View& y = call.output;
  const double value = call.step.number("value", 0);
  if (is_float(y)) return api::constant<float>(call.context, y.as<float>(), y.size(), static_cast<float>(value));
  if (is_int(y, 32)) return api::constant<int32_t>(call.context, y.as<int32_t>(), y.size(), static_cast<int32_t>(value));
  if (is_int(y, 64)) return api::constant<int64_t>(call.context, y.as<int64_t>(), y.size(), static_cast<int64_t>(value));
  call.need(is_bool(y) || y.dtype.bits == 8, "constants are float32, int32, int64, int8 or bool");
  return api::constant<int8_t>(call.context, y.as<int8_t>(), y.size(), static_cast<int8_t>(value));
}
}  // namespace

void register_moves(std::map<std::string, Handler>& handlers) {
  handlers["transpose"] = transpose;
  handlers["concat"] = concat;
  handlers["split"] = split;
  handlers["strided_slice"] = strided_slice;
  handlers["pad"] = pad;
  handlers["gather"] = gather;
  handlers["embedding"] = embedding;
  handlers["multi_embedding_fusion"] = multi_embedding;
  handlers["select"] = select;
  handlers["cast"] = cast;
  handlers["constant"] = constant;
}

}  // namespace oarlock_xpu
