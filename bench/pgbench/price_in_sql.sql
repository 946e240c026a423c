-- the same arithmetic on the same JSON
\set i random(1, 1000)
SELECT round((u ->> 'input_tokens')::numeric * 0.00001 + (u ->> 'output_tokens')::numeric * 0.00003, 4)
  FROM jsonb_build_object('model', 'model-7', 'input_tokens', :i::integer, 'output_tokens', 200) u;
