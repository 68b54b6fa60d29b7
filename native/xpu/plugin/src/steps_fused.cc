// Attention, encoders, and blocks of several operators.
#include "steps.h"

namespace oarlock_xpu {
namespace {

// Strides [batch, head, row] of an operand "<role>" of attention and where it begins.  "<role>_heads": 1: [batch, heads, rows, numbers];
// 0: [batch, rows, …], heads "<role>_step" numbers apart from number "<role>_at" of a row on.
struct Operand {
  const View& view;
  int64_t at = 0, strides[3] = {}, rows = 0, numbers = 0;

  Operand(const Call& call, const char* role, const View& view, int64_t batch, int64_t heads, int64_t numbers)
      : view(view), numbers(numbers) {
    const std::string name(role);
    if (call.step.integer((name + "_heads").c_str(), 0)) {
      call.need(view.rank() == 4 && view.shape[1] == heads && view.shape[3] == numbers, "an operand of attention has another shape");
      rows = view.shape[2];
      strides[0] = view.from(1), strides[1] = view.from(2), strides[2] = numbers;
    } else {
      call.need(view.rank() >= 3, "an operand of attention has other dims");
      rows = view.shape[1];
      at = call.step.integer((name + "_at").c_str(), 0);
      strides[0] = view.from(1), strides[1] = call.step.integer((name + "_step").c_str(), numbers), strides[2] = view.from(2);
      call.need(at + (heads - 1) * strides[1] + numbers <= strides[2], "an operand of attention has narrower rows than its heads");
    }
    call.need(view.shape[0] == batch, "an operand of attention has another batch");
  }
};

// Strides of a mask that is broadcast to [batch, heads, rows, keys].
void mask_strides(const Call& call, const View& mask, const int64_t (&dims)[4], int64_t (&strides)[4]) {
  call.need(mask.rank() <= 4, "the mask has too many dims");
  int64_t step = 1;
  for (int d = 3, i = mask.rank() - 1; d >= 0; --d, --i) {
    const int64_t size = i >= 0 ? mask.shape[i] : 1;
    call.need(size == dims[d] || (size == 1 && d < 3), "the mask cannot be broadcast to the scores");
    strides[d] = size == 1 && d < 3 ? 0 : step;
    step *= size;
  }
}

int attention(const Call& call) {
  const View& y = call.need_float("result");
  const int64_t heads = call.step.integer("heads"), kv_heads = call.step.integer("kv_heads", heads), batch = y.rank() ? y.shape[0] : 0;
  const int64_t dim = call.step.integer("dim"), v_dim = call.step.integer("v_dim", dim);
  call.need(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, "the heads");
  const Operand q(call, "q", call.need_float("q"), batch, heads, dim), k(call, "k", call.need_float("k"), batch, kv_heads, dim);
  const Operand v(call, "v", call.need_float("v"), batch, kv_heads, v_dim), out(call, "y", y, batch, heads, v_dim);
  call.need(k.rows == v.rows && out.rows == q.rows, "keys and values, or queries and results, differ in number");
  api::AttentionParam p;
  p.batch = batch, p.heads = heads, p.kv_heads = kv_heads, p.rows = q.rows, p.keys = k.rows, p.dim = dim, p.v_dim = v_dim;
  std::copy(q.strides, q.strides + 3, p.q);
  std::copy(k.strides, k.strides + 3, p.k);
  std::copy(v.strides, v.strides + 3, p.v);
  std::copy(out.strides, out.strides + 3, p.y);
  p.alpha = static_cast<float>(call.step.number("alpha", 1));
  p.causal = call.step.integer("causal", 0);
  const float* mask = nullptr;
  if (call.find("mask")) {
    mask = call.need_float("mask").as<float>();
    mask_strides(call, call.get("mask"), {batch, heads, q.rows, k.rows}, p.mask);
  }
  const float *from_q = q.view.as<float>() + q.at, *from_k = k.view.as<float>() + k.at, *from_v = v.view.as<float>() + v.at;
  const float *q_max = call.maxima("q_max"), *k_max = call.maxima("k_max"), *v_max = call.maxima("v_max");
  float* to = y.as<float>() + out.at;
  auto given = call.step.texts.find("precision");
  const std::string precision = given == call.step.texts.end() ? "" : given->second;
  if (precision == "int8")
    return api::qkv_attention<float, int8_t>(call.context, from_q, from_k, from_v, to, p, mask, nullptr, q_max, k_max, v_max, call.y_max());
  if (precision == "int16")
    return api::qkv_attention<float, int16_t>(call.context, from_q, from_k, from_v, to, p, mask, nullptr, q_max, k_max, v_max,
                                              call.y_max());
  if (precision == "int31")
    return api::qkv_attention<float, int32_t>(call.context, from_q, from_k, from_v, to, p, mask, nullptr, q_max, k_max, v_max,
                                              call.y_max());
  if (precision == "float16")
    return api::qkv_attention<float, api::float16>(call.context, from_q, from_k, from_v, to, p, mask, nullptr, nullptr, nullptr, nullptr,
                                                   call.y_max());
  call.need(precision.empty(), "there is no such precision");
  return api::qkv_attention<float, float>(call.context, from_q, from_k, from_v, to, p, mask, nullptr, nullptr, nullptr, nullptr,
                                          call.y_max());
}

template <typename TW>
int encoder_of(const Call& call, const View& x, const api::EncoderParam& p, const float* mask) {
  const int64_t d = p.dim, f = p.inner;
  std::vector<api::EncoderLayer<TW>> layers(call.step.integer("layers"));
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string at = "l" + std::to_string(i) + ".";
    auto matrix = [&](const char* role, int64_t rows, int64_t columns) {
      const View& view = call.get((at + role).c_str());
      call.need(view.rank() == 2 && view.shape[0] == rows && view.shape[1] == columns && equal(view.dtype, call.get("l0.qkv").dtype),
                "a matrix of a layer has another shape or type");
      return view.as<const TW>();
    };
    auto vector = [&](const char* role, int64_t size) { return call.vector_of((at + role).c_str(), size); };
    layers[i] = {matrix("qkv", d, 3 * d),    matrix("out", d, d),    matrix("inner", d, f),    matrix("outer", f, d),
                 vector("qkv_max", 3 * d),   vector("out_max", d),   vector("inner_max", f),   vector("outer_max", d),
                 vector("qkv_bias", 3 * d),  vector("out_bias", d),  vector("inner_bias", f),  vector("outer_bias", d),
                 vector("scale1", d),        vector("shift1", d),    vector("scale2", d),      vector("shift2", d)};
  }
  return api::transformer_encoder<float, TW>(call.context, x.as<float>(), call.output.as<float>(), layers, p, mask, call.maxima("x_max"),
                                             call.y_max());
}

int encoder(const Call& call) {
  const View &x = call.need_float("x"), &y = call.need_float("result");
  call.need(x.rank() == 3 && x.shape == y.shape, "x has no three dims, or the result another shape");
  call.need(call.get("l0.inner").rank() == 2, "a matrix of a layer has another shape");
  api::EncoderParam p;
  p.batch = x.shape[0], p.rows = x.shape[1], p.dim = x.shape[2], p.heads = call.step.integer("heads");
  p.inner = call.get("l0.inner").shape[1];
  p.eps1 = static_cast<float>(call.step.number("eps1", 1e-5)), p.eps2 = static_cast<float>(call.step.number("eps2", 1e-5));
  p.alpha = static_cast<float>(call.step.number("alpha", 1));
  p.pre_norm = call.step.integer("pre_norm", 0), p.packed = call.step.integer("packed", 0);
  p.act = call.step.activation();
  const float* mask = nullptr;
  if (call.find("mask")) {
    mask = call.need_float("mask").as<float>();
    mask_strides(call, call.get("mask"), {p.batch, p.heads, p.rows, p.rows}, p.mask);
    call.need(!p.packed || (!p.mask[1] && !p.mask[2]), "sequences are packed by a mask of keys alone");
  }
  return by_weights(call, call.get("l0.qkv"), [&](auto* weights) {
    return encoder_of<std::remove_const_t<std::remove_pointer_t<decltype(weights)>>>(call, x, p, mask);
  });
}

int squeeze_excitation(const Call& call) {
  const View &x = call.need_float("x"), &w1 = call.get("w1"), &w2 = call.get("w2"), &y = call.need_float("result");
  call.need(x.rank() == 4 && x.shape == y.shape, "x has no four dims, or the result another shape");
  const int64_t c = x.shape[1], r = c ? w1.size() / c : 0;
  call.need(r > 0 && w1.size() == r * c && w2.size() == c * r, "the matrices have other sizes");
  call.need((is_float(w1) && is_float(w2)) || (is_float(w1, 16) && is_float(w2, 16)), "the matrices are float32 or float16, both the same");
  auto made = [&](auto* weights) {
    using TW = std::remove_pointer_t<decltype(weights)>;
    return api::squeeze_excitation_block<float, TW>(call.context, x.as<float>(), weights, w2.as<TW>(), y.as<float>(), x.shape[0], c,
                                                    x.shape[2], x.shape[3], r, call.vector_of("b1", r), call.vector_of("b2", c),
                                                    call.step.activation("act1"), call.step.activation("act2"));
  };
  return is_float(w1) ? made(w1.as<float>()) : made(w1.as<api::float16>());
}

int conv2d_transpose(const Call& call) {
  const View &x = call.need_float("x"), &w = call.need_float("w"), &y = call.need_float("result");  // w: [f, kh, kw, c / groups]
  call.need(x.rank() == 4 && w.rank() == 4 && y.rank() == 4, "tensors of four dims are needed");
  const int64_t groups = call.step.integer("groups", 1);
  call.need(groups > 0 && x.shape[1] == w.shape[3] * groups && w.shape[0] % groups == 0, "the channels do not fit the filter");
  call.need(y.shape[0] == x.shape[0] && y.shape[1] == w.shape[0], "the result has another shape");
  return api::conv2d_transpose_fusion<float>(call.context, x.as<float>(), w.as<float>(), y.as<float>(), x.shape[0], x.shape[1], x.shape[2],
                                             x.shape[3], w.shape[0], y.shape[2], y.shape[3],
                                             {static_cast<int>(w.shape[1]), static_cast<int>(w.shape[2])}, call.step.list("strides", 2),
                                             call.step.list("paddings", 4), call.step.list("dilations", 2), groups,
                                             call.vector_of("bias", w.shape[0]), call.step.activation());
}
}  // namespace

void register_fused(std::map<std::string, Handler>& handlers) {
  handlers["qkv_attention"] = attention;
  handlers["transformer_encoder"] = encoder;
  handlers["squeeze_excitation_block"] = squeeze_excitation;
  handlers["conv2d_transpose_fusion"] = conv2d_transpose;
}

}  // namespace oarlock_xpu
