// Numbers of one byte or of four bits in blocks that share a scale, on the CPU: plain loops over memory, without libtorch, so that they can be
// compiled for speed. Blocks are independent, so that the number of threads changes nothing.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr size_t BLOCK = 256;

// What a byte means, and which byte is nearest: `below` has, for the upper half of a float's bits, how many bounds lie below every float that
// begins so; from there on bounds are passed one by one.
struct Map {
  const float *values;
  float bounds[255];
  std::vector<uint8_t> below;

  explicit Map(const float *values) : values(values), below(1 << 16) {
    for (int i = 0; i < 255; i++) bounds[i] = (values[i] + values[i + 1]) / 2;
    for (uint32_t upper = 0; upper < 1 << 16; upper++) {
      // Of negative floats the last of a half is the least.
      uint32_t bits = upper << 16 | (upper >> 15 ? 0xFFFF : 0);
      float least;
      memcpy(&least, &bits, 4);
      below[upper] = std::isnan(least) ? 0 : std::lower_bound(bounds, bounds + 255, least) - bounds;
    }
  }

  uint8_t nearest(float x) const {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    int code = below[bits >> 16];
    while (code < 255 && bounds[code] < x) code++;
    return code;
  }

  // Writes `count` numbers as bytes, and gives their scale.
  float quantise(const float *from, size_t count, uint8_t *to) const {
    float most = 0;
    for (size_t i = 0; i < count; i++) most = std::max(most, std::fabs(from[i]));
    float by = 1.0f / std::max(most, 1e-38f);
    for (size_t i = 0; i < count; i++) to[i] = nearest(std::min(std::max(from[i] * by, -1.0f), 1.0f));
    return most;
  }
};

// Calls `body` with the parts of `count` things, each part in a thread.
template <typename Body> void spread(size_t count, int threads, Body body) {
  size_t parts = std::max<size_t>(1, std::min<size_t>(threads, count / 64));
  std::vector<std::thread> others;
  for (size_t part = 1; part < parts; part++)
    others.emplace_back([=] { body(part * count / parts, (part + 1) * count / parts); });
  body(0, count / parts);
  for (auto &other : others) other.join();
}

} // namespace

extern "C" {

struct rationale_adamw8_constants {
  float beta1, beta2, eps, keeps, lr_by_correction, root_of_correction;
};

// One AdamW step over a tensor of n numbers whose two means are bytes with a scale for each 256.
void rationale_adamw8(float *parameter, const float *gradient, uint8_t *average, float *average_scale, uint8_t *square,
                      float *square_scale, size_t n, const float *signed_map, const float *unsigned_map,
                      const rationale_adamw8_constants *constants, int threads) {
  static const Map means(signed_map), squares(unsigned_map);
  const auto c = *constants;
  spread((n + BLOCK - 1) / BLOCK, threads, [=](size_t from, size_t to) {
    float m[BLOCK], v[BLOCK];
    for (size_t block = from; block < to; block++) {
      const size_t at = block * BLOCK, count = std::min(BLOCK, n - at);
      const float m_scale = average_scale[block], v_scale = square_scale[block];
      for (size_t i = 0; i < count; i++) {
        m[i] = means.values[average[at + i]] * m_scale;
        v[i] = squares.values[square[at + i]] * v_scale;
      }
      for (size_t i = 0; i < count; i++) {
        const float g = gradient[at + i];
        m[i] = m[i] * c.beta1 + (1 - c.beta1) * g;
        v[i] = v[i] * c.beta2 + (1 - c.beta2) * g * g;
        const float root = std::sqrt(v[i]) / c.root_of_correction + c.eps;
        parameter[at + i] = parameter[at + i] * c.keeps - c.lr_by_correction * (m[i] / root);
      }
      average_scale[block] = means.quantise(m, count, average + at);
      square_scale[block] = squares.quantise(v, count, square + at);
    }
  });
}

// Numbers of four bits, two a byte with the first in its upper half, in blocks of 64 that share a scale, as f32 or as bf16 (rounded to the
// nearest, ties to even).
void rationale_nf4_read(const uint8_t *packed, const float *absmax, const float *table, size_t n, bool bf16, void *to, int threads) {
  constexpr size_t block = 64;
  spread((n + block - 1) / block, threads, [=](size_t from, size_t end) {
    float values[block];
    for (size_t at = from; at < end; at++) {
      const size_t count = std::min(block, n - at * block);
      const uint8_t *bytes = packed + at * block / 2;
      float scaled[16];
      for (int i = 0; i < 16; i++) scaled[i] = table[i] * absmax[at];
      for (size_t i = 0; i < block / 2; i++) {
        values[2 * i] = scaled[bytes[i] >> 4];
        values[2 * i + 1] = scaled[bytes[i] & 15];
      }
      if (!bf16) {
        memcpy(static_cast<float *>(to) + at * block, values, count * 4);
        continue;
      }
      uint16_t *out = static_cast<uint16_t *>(to) + at * block;
      for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        out[i] = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
      }
    }
  });
}
}
