/** What of the browser's WebGPU the runtime uses, as types: TypeScript's own library does not have them yet. */

export interface GpuBuffer {
  readonly size: number;
  mapAsync(mode: number, offset?: number, size?: number): Promise<void>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

export interface GpuError {
  readonly message: string;
}

export interface GpuShaderModule {
  getCompilationInfo(): Promise<{ messages: { type: "error" | "warning" | "info"; message: string; lineNum: number }[] }>;
}

export interface GpuPass {
  setPipeline(pipeline: GpuPipeline): void;
  setBindGroup(index: number, group: GpuBindGroup): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
  end(): void;
}

export type GpuPipeline = { readonly label: string };
export type GpuBindGroup = { readonly label: string };
export type GpuLayout = { readonly label: string };
export type GpuQuerySet = { destroy(): void };

export interface GpuEncoder {
  beginComputePass(descriptor?: {
    timestampWrites?: { querySet: GpuQuerySet; beginningOfPassWriteIndex: number; endOfPassWriteIndex: number };
  }): GpuPass;
  copyBufferToBuffer(source: GpuBuffer, at: number, target: GpuBuffer, to: number, bytes: number): void;
  resolveQuerySet(set: GpuQuerySet, first: number, count: number, target: GpuBuffer, at: number): void;
  finish(): { readonly label: string };
}

export interface GpuDevice {
  readonly features: ReadonlySet<string>;
  readonly lost: Promise<{ reason: string; message: string }>;
  readonly queue: {
    writeBuffer(buffer: GpuBuffer, at: number, data: ArrayBufferView | ArrayBuffer, from?: number, size?: number): void;
    submit(commands: { readonly label: string }[]): void;
    onSubmittedWorkDone(): Promise<void>;
  };
  createBuffer(descriptor: { size: number; usage: number; label?: string }): GpuBuffer;
  createShaderModule(descriptor: { code: string; label?: string }): GpuShaderModule;
  createBindGroupLayout(descriptor: {
    entries: { binding: number; visibility: number; buffer: { type: "storage" | "read-only-storage" } }[];
  }): GpuLayout;
  createPipelineLayout(descriptor: { bindGroupLayouts: GpuLayout[] }): GpuLayout;
  createComputePipelineAsync(descriptor: {
    layout: GpuLayout;
    compute: { module: GpuShaderModule; entryPoint: string };
    label?: string;
  }): Promise<GpuPipeline>;
  createBindGroup(descriptor: {
    layout: GpuLayout;
    entries: { binding: number; resource: { buffer: GpuBuffer; offset?: number; size?: number } }[];
    label?: string;
  }): GpuBindGroup;
  createCommandEncoder(): GpuEncoder;
  createQuerySet(descriptor: { type: "timestamp"; count: number }): GpuQuerySet;
  pushErrorScope(filter: "validation" | "out-of-memory" | "internal"): void;
  popErrorScope(): Promise<GpuError | null>;
  destroy(): void;
}

export interface GpuAdapter {
  readonly features: ReadonlySet<string>;
  readonly limits: Record<string, number>;
  readonly info?: { vendor?: string; architecture?: string; description?: string };
  requestDevice(descriptor: { requiredFeatures: string[]; requiredLimits: Record<string, number> }): Promise<GpuDevice>;
}

export interface Gpu {
  requestAdapter(options?: { powerPreference?: "high-performance" | "low-power" }): Promise<GpuAdapter | null>;
}

// GPUBufferUsage, GPUShaderStage and GPUMapMode, which a module cannot count on before it knows that there is WebGPU
export const USE = { mapRead: 1, copyFrom: 4, copyTo: 8, storage: 128, query: 512 } as const;
export const COMPUTE = 4;
export const READ = 1;
